"""Rows of a Parquet file on standard input as NDJSON, in a process of its own: bombs and broken files end it alone.

Run by path with `-I`; `ingest.formats.parquet` starts it and says the bounds. It imports nothing of ours.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from decimal import Decimal
from typing import Any, Final, NoReturn

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# Rows made Python at once.
_BATCH_ROWS: Final = 256
_REFUSED: Final = 3


def main() -> None:
    """Arguments: the bounds as one JSON object."""
    bounds: dict[str, int] = json.loads(sys.argv[1])
    _confine(bounds)
    try:
        _write_rows(bounds)
    except (MemoryError, pa.ArrowMemoryError):
        _refuse("too_large", "The table takes more memory than a request may; send several.")
    except (pa.ArrowException, OSError, ValueError) as error:
        _refuse("unreadable", f"The body is no Parquet that can be read: {str(error)[:200]}.")


def _confine(bounds: dict[str, int]) -> None:
    """Bound memory beyond what the libraries have taken, and processor time."""
    pa.set_cpu_count(1)
    with open("/proc/self/statm") as statm:
        taken = int(statm.read().split()[0]) * resource.getpagesize()
    most = taken + bounds["memory_bytes"]
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    if bounds["cpu_s"]:
        resource.setrlimit(resource.RLIMIT_CPU, (bounds["cpu_s"], bounds["cpu_s"]))


def _write_rows(bounds: dict[str, int]) -> None:
    file = pq.ParquetFile(pa.PythonFile(os.fdopen(0, "rb"), mode="r"), pre_buffer=False)
    _check(file.metadata, file.schema_arrow, bounds)
    texts = [field.name for field in file.schema_arrow if _is_text(field.type)]
    # A page that says one long text a million times stays one text.
    file = pq.ParquetFile(pa.PythonFile(os.fdopen(os.dup(0), "rb"), mode="r"), pre_buffer=False, read_dictionary=texts)
    encoder = msgspec.json.Encoder()
    out = sys.stdout.buffer
    out.write(encoder.encode(file.schema_arrow.names) + b"\n")
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
        names = batch.schema.names
        columns = [_values(column, name, bounds) for name, column in zip(names, batch.columns, strict=True)]
        for cells in zip(*columns, strict=True):
            row = {name: cell for name, cell in zip(names, cells, strict=True) if cell is not None and cell == cell}
            out.write(encoder.encode(row) + b"\n")
    out.flush()


def _check(metadata: Any, schema: Any, bounds: dict[str, int]) -> None:
    """Refuse what the footer says is too much, before any page is read."""
    counts = (
        ("columns", len(schema.names), bounds["columns"]),
        ("rows", metadata.num_rows, bounds["rows"]),
        ("row groups", metadata.num_row_groups, bounds["row_groups"]),
    )
    for what, count, most in counts:
        if count > most:
            _refuse("too_many_lines", f"The table has {count} {what}; it may have {most}.")
    for field in schema:
        if not _is_taken(field.type):
            mend = "make it UTC" if pa.types.is_timestamp(field.type) else "flatten it, or leave it out"
            detail = f"The column {field.name[:80]!r} is of type {str(field.type)[:80]}; {mend}."
            _refuse("unsupported_type", detail)
    plain = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    if plain > bounds["plain_bytes"] or plain < 0:
        _refuse("too_large", f"Decompressed the table has {plain} bytes; it may have {bounds['plain_bytes']}.")


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_taken(kind: Any) -> bool:
    types = pa.types
    if types.is_dictionary(kind):
        return _is_text(kind.value_type)
    if types.is_timestamp(kind):
        # Without a zone a time is a different one for everybody.
        return kind.tz is not None
    plain = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    return _is_text(kind) or any(is_of(kind) for is_of in plain)


def _values(column: Any, name: str, bounds: dict[str, int]) -> list[Any]:
    if pa.types.is_dictionary(column.type):
        longest = pc.max(pc.binary_length(column.dictionary)).as_py() or 0
        if longest > bounds["text_bytes"]:
            detail = f"The column {name[:80]!r} has a text of {longest} bytes; it may have {bounds['text_bytes']}."
            _refuse("too_large", detail)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
        return [None if each is None else each.isoformat() for each in column.to_pylist()]
    return [str(each) if isinstance(each, Decimal) else each for each in column.to_pylist()]


def _refuse(code: str, message: str) -> NoReturn:
    sys.stderr.write(json.dumps({"code": code, "message": message}))
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(_REFUSED)


if __name__ == "__main__":
    main()
