"""Parquet files as rows, read by a process with bounds of its own (`parquet_child.py`)."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from ingest.formats.converted import FormatError, TooManyError
from ingest.formats.tables import COLUMNS_MAX, Row, check_columns
from schemas.events import EVENT_BYTES_MAX

MEDIA_TYPE: Final = "application/vnd.apache.parquet"
_CHILD: Final = Path(__file__).with_name("parquet_child.py")
# One thread and one heap: the bound on memory counts addresses, and spare heaps have 64 MiB each. No secrets.
_ENVIRONMENT: Final = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_row: Final = msgspec.json.Decoder(dict[str, Any])
_names: Final = msgspec.json.Decoder(list[str])


@dataclass(frozen=True, slots=True)
class ParquetBounds:
    """What a file may be; the process that reads it is ended at its bounds."""

    rows: int
    # Decompressed, as the file's footer says it.
    plain_bytes: int
    # Beyond what the libraries take.
    memory_bytes: int
    cpu_s: int
    # From the start of the process to its end, 0: for ever.
    whole_s: float
    columns: int = COLUMNS_MAX
    row_groups: int = 1_024
    text_bytes: int = EVENT_BYTES_MAX


# Of an upload of 8 MiB: eight times that once decompressed.
UPLOAD: Final = ParquetBounds(rows=100_000, plain_bytes=64 * 2**20, memory_bytes=512 * 2**20, cpu_s=30, whole_s=60.0)
# Of a file on somebody's own disk: rows come as they are read.
FILE: Final = ParquetBounds(
    rows=2**40, plain_bytes=2**40, memory_bytes=4 * 2**30, cpu_s=0, whole_s=0.0, row_groups=1_000_000
)


def parquet_rows(file: IO[bytes], bounds: ParquetBounds, *, mapped: bool) -> Generator[Row]:
    """The rows of a file that is open at its start; raises FormatError. Cells that are null or NaN are absent.

    Timestamps are RFC 3339 texts, decimals plain ones.
    """
    command = [sys.executable, "-I", str(_CHILD), json.dumps(asdict(bounds))]
    child = subprocess.Popen(  # noqa: S603 - our own script
        command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_ENVIRONMENT, cwd="/"
    )
    clock = threading.Timer(bounds.whole_s, child.kill) if bounds.whole_s else None
    if clock is not None:
        clock.start()
    try:
        assert child.stdout is not None
        if header := child.stdout.readline():
            check_columns(_names.decode(header), mapped=mapped)
        for line in child.stdout:
            yield _row.decode(line)
        _check_end(child)
    finally:
        if clock is not None:
            clock.cancel()
        child.kill()
        child.communicate()


def _check_end(child: subprocess.Popen[bytes]) -> None:
    assert child.stderr is not None
    # A short answer, or a traceback of ours.
    said = child.stderr.read(64 * 1024)
    if child.wait() == 0:
        return
    try:
        told = json.loads(said)
        code, message = str(told["code"]), str(told["message"])
    except (ValueError, KeyError, TypeError):
        raise FormatError("The table cannot be read in the time and memory that there is for one.") from None
    raise TooManyError(message, code) if code in ("too_large", "too_many_lines") else FormatError(message, code)
