"""Parquet as rows: types, bounds, bombs and broken files."""

from __future__ import annotations

import io
import random
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.formats.converted import Converted, FormatError, TooManyError
from ingest.formats.parquet import UPLOAD, ParquetBounds, parquet_rows
from ingest.formats.tables import RowReader, from_rows

TS_MS = 1_767_225_500_000
AT = datetime.fromtimestamp(TS_MS / 1_000, UTC)


def events(rows: int, **columns: Any) -> pa.Table:
    own = {"event_id": [f"e{n}" for n in range(rows)], "type": ["click"] * rows, "ts": [TS_MS] * rows}
    return pa.table(own | {"campaign_id": ["shoes"] * rows} | columns)


def content(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def read(body: bytes, tmp_path: Path, bounds: ParquetBounds = UPLOAD, rows_max: int = 100_000) -> Converted:
    path = tmp_path / "table.parquet"
    path.write_bytes(body)
    with path.open("rb") as file, closing(parquet_rows(file, bounds, mapped=False)) as rows:
        return from_rows(rows, RowReader(None, now_ms=TS_MS), rows_max=rows_max, still_wanted=lambda: None)


def test_columns_of_all_flat_types_are_the_fields_of_events(tmp_path: Path) -> None:
    table = events(
        2,
        ts=pa.array([AT, None], pa.timestamp("ns", "Europe/Berlin")),
        campaign_id=pa.array(["shoes", None]).dictionary_encode(),
        cost_micros=pa.array([1200.0, float("nan")]),
        user_id=pa.array([7, None], pa.int64()),
        price=pa.array([Decimal("1.50"), None]),
        paid=pa.array([True, None]),
    )
    first, second = read(content(table), tmp_path).lines
    assert first == (
        b'{"event_id":"e0","type":"click","ts":"2026-01-01T00:58:20+01:00","campaign_id":"shoes","cost_micros":1200,'
        b'"user_id":"7","price":"1.50","paid":true}'
    )
    assert second == b'{"event_id":"e1","type":"click"}'


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([[1]]), "list"),
        (pa.array([{"a": 1}]), "struct"),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), "map"),
        (pa.array([b"x"]), "binary"),
        (pa.array([AT.replace(tzinfo=None)], pa.timestamp("ms")), "make it UTC"),
    ],
    ids=["list", "struct", "map", "binary", "no_zone"],
)
def test_a_column_of_another_type_is_refused_by_its_name(tmp_path: Path, column: pa.Array, said: str) -> None:
    with pytest.raises(FormatError, match="'extra_one'") as refused:
        read(content(events(1, extra_one=column)), tmp_path)
    assert refused.value.code == "unsupported_type"
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("table", "options", "said"),
    [
        (events(100_001), {}, "100001 rows"),
        (events(1, **{f"c{n}": [1] for n in range(300)}), {}, "304 columns"),
        (events(2_000), {"row_group_size": 1}, "2000 row groups"),
    ],
    ids=["rows", "columns", "row_groups"],
)
def test_a_table_that_is_too_long_or_wide_is_refused_by_its_footer(
    tmp_path: Path, table: pa.Table, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(TooManyError, match=said):
        read(content(table, **options), tmp_path)


def test_a_bomb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    table = events(90_000, text=["x" * 1_000] * 90_000)
    body = content(table, compression="zstd", use_dictionary=False)
    assert len(body) < 2**20
    with pytest.raises(TooManyError, match="Decompressed") as refused:
        read(body, tmp_path)
    assert refused.value.code == "too_large"


def test_a_footer_that_lies_about_a_bomb_ends_its_own_process_only(tmp_path: Path) -> None:
    table = events(8_000, text=[f"{number}{'x' * 60_000}" for number in range(8_000)])
    body = content(table, compression="zstd", use_dictionary=False, data_page_size=2**30, write_batch_size=2**20)
    believed = replace(UPLOAD, plain_bytes=2**40, memory_bytes=128 * 2**20)
    with pytest.raises(FormatError, match="memory"):
        read(body, tmp_path, believed)


def test_one_long_text_said_thousands_of_times_is_refused(tmp_path: Path) -> None:
    body = content(events(4_000, text=["x" * 60_000] * 4_000), compression="zstd")
    # Four times what an upload may be once decompressed.
    assert len(body) < 2**20
    with pytest.raises(TooManyError) as refused:
        read(body, tmp_path)
    assert refused.value.code == "too_large"


def test_a_process_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="time and memory"):
        read(content(events(1)), tmp_path, replace(UPLOAD, whole_s=0.01))


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    whole = content(events(50))
    chance = random.Random(7)
    flipped = []
    for _ in range(4):
        broken = bytearray(whole)
        for _ in range(20):
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        flipped.append(bytes(broken))
    for body in (b"", b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1", whole[:-20], *flipped):
        if body in flipped:
            # Flips may hit what nobody reads.
            with suppress(FormatError):
                read(body, tmp_path)
            continue
        with pytest.raises(FormatError):
            read(body, tmp_path)


def test_columns_that_are_not_ours_need_a_mapping(tmp_path: Path) -> None:
    with pytest.raises(FormatError) as refused:
        read(content(pa.table({"a": [1]})), tmp_path)
    assert refused.value.code == "missing_column"
