"""ClickHouse's tables as files: tab-separated rows with names, compressed; readable by any ClickHouse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import zstandard

from cli.backup.manifest import BackupError

_STEP: Final = 8 * 2**20
_FORMAT: Final = "TabSeparatedWithNames"
# Rows as they were: neither merged on the way nor spread over too many parts.
_INSERT: Final = {"optimize_on_insert": 0, "async_insert": 0, "max_partitions_per_insert_block": 0}
# Made by migrations.
_MADE_ANEW: Final = "schema_versions"


def export(client: Any, folder: Path) -> dict[str, int]:
    """Write every table below `folder`, a file a partition; rows by table. Raises the client's exceptions."""
    rows: dict[str, int] = {}
    for (table,) in client.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' ORDER BY name"
    ).result_rows:
        if table == _MADE_ANEW:
            continue
        rows[table] = 0
        parts = client.query(f"SELECT DISTINCT _partition_id FROM `{table}` ORDER BY 1").result_rows  # noqa: S608
        for number, (part,) in enumerate(parts):
            rows[table] += _export_part(client, table, str(part), folder / f"{table}.{number:04d}.tsv.zst")
    return rows


def _export_part(client: Any, table: str, part: str, path: Path) -> int:
    """One partition; its rows."""
    sql = f"SELECT * FROM `{table}` WHERE _partition_id = {{part:String}}"  # noqa: S608
    lines = 0
    with (
        path.open("wb") as file,
        zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False) as compressed,
        client.raw_stream(sql, parameters={"part": part}, fmt=_FORMAT) as answer,
    ):
        while piece := answer.read(_STEP):
            lines += piece.count(b"\n")
            compressed.write(piece)
    path.chmod(0o600)
    # The first line names the columns.
    return max(0, lines - 1)


def load(client: Any, folder: Path, rows: dict[str, int]) -> None:
    """Insert what `export` wrote into empty tables, and count it. Raises BackupError."""
    for table, expected in rows.items():
        client.command(f"SYSTEM STOP MERGES `{table}`")
        try:
            for path in sorted(folder.glob(f"{table}.[0-9]*.tsv.zst")):
                for block in _blocks(path):
                    client.raw_insert(table, insert_block=block, fmt=_FORMAT, settings=_INSERT)
            ((found,),) = client.query(f"SELECT count() FROM `{table}`").result_rows  # noqa: S608
        finally:
            client.command(f"SYSTEM START MERGES `{table}`")
        if found != expected:
            raise BackupError(f"ClickHouse took {found} of {expected} rows of {table}: is the disk full?")


def _blocks(path: Path) -> Iterator[bytes]:
    """Whole lines of a file, each block with the line of names."""
    names, rest = b"", b""
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as lines:
        while piece := lines.read(_STEP):
            rest += piece
            if not names:
                end = rest.find(b"\n") + 1
                names, rest = rest[:end], rest[end:]
            end = rest.rfind(b"\n") + 1
            if end:
                yield names + rest[:end]
                rest = rest[end:]
