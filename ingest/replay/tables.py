"""Recorded tables, CSV and Parquet, as lines of events."""

from __future__ import annotations

import io
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Final

from ingest.formats.converted import Converted, FormatError
from ingest.formats.mapping import FormatMapping
from ingest.formats.parquet import FILE, parquet_rows
from ingest.formats.tables import LINE_CHARACTERS_MAX, Row, RowReader, csv_rows
from ingest.replay.lines import DAMAGED, BadLine, Line, decompressed

_CSV: Final = (".csv", ".tsv")
_PACKED: Final = (".gz", ".zst")


def is_table(path: Path) -> bool:
    """By the name: `.csv`, `.tsv` (also packed) or `.parquet`.

    >>> [is_table(Path(name)) for name in ("a.csv.gz", "a.parquet", "a.ndjson", "a.gz")]
    [True, True, False, False]
    """
    return _is_csv(path) or path.suffix == ".parquet"


def _is_csv(path: Path) -> bool:
    return (Path(path.stem) if path.suffix in _PACKED else path).suffix in _CSV


class TableFile:
    """A file of rows, read as `RecordedFile` is; `ignored` counts rows that the mapping does not name."""

    def __init__(self, path: Path, mapping: FormatMapping | None, *, now_ms: int) -> None:
        self.path = path
        self.size_bytes = path.stat().st_size
        self.ignored = 0
        self._reader = RowReader(mapping, now_ms=now_ms)
        self._mapped = mapping is not None
        self._raw: IO[bytes] | None = None

    @property
    def read_bytes(self) -> int:
        """Bytes of the file read so far, for progress."""
        return self._raw.tell() if self._raw is not None and not self._raw.closed else 0

    def lines(self) -> Iterator[Line | BadLine]:
        """Rows as events, by number below the header; what cannot be read on ends with a BadLine. Raises OSError."""
        number = 0
        with self.path.open("rb") as raw:
            self._raw = raw
            try:
                with closing(self._rows(raw)) as rows:
                    for row in rows:
                        number += 1
                        yield from self._line(number, row)
            except (FormatError, UnicodeDecodeError, *DAMAGED) as error:
                yield BadLine(self.path, number + 1, str(error))

    def _rows(self, raw: IO[bytes]) -> Generator[Row]:
        if not _is_csv(self.path):
            yield from parquet_rows(raw, FILE, mapped=self._mapped)
            return
        text = io.TextIOWrapper(decompressed(raw), "utf-8-sig", newline="")
        yield from csv_rows(iter(lambda: text.readline(LINE_CHARACTERS_MAX + 1), ""), mapped=self._mapped)

    def _line(self, number: int, row: Row) -> Iterator[Line | BadLine]:
        converted = Converted()
        self._reader.put(converted, number, row)
        self.ignored += converted.ignored.total()
        for bad in converted.refused:
            yield BadLine(self.path, number, f"{bad.field} {bad.detail}".strip())
        for line in converted.lines:
            yield Line(self.path, number, line)
