"""chDB's connections: each statement runs alone on one of them, with its own database, settings and parameters.

Measured with chDB 26.9: connections of one process run at the same time, an insert goes on beside a long SELECT, and
Python's lock is free while the engine works. One process owns a data directory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final

from storage.service.errors import BAD_ARGUMENTS, ServiceError, from_engine, refused
from storage.service.external import External, put
from storage.service.literals import identifier, quoted
from storage.service.native import REVISION_MIN, framed
from storage.service.outlet import ClientGone, Opening, Outlet
from storage.service.statements import Statement

DATABASE: Final = "penstock"
# Of these formats the engine's blocks can be joined into one answer; others are whole only as one piece.
_JOINABLE: Final = frozenset(
    {"Native", "TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "CSV", "RowBinary", "JSONEachRow"}
    | {"JSONCompactEachRow", "JSONLines", "NDJSON", "LineAsString"}
)
# An answer up to this size is made before its first byte is sent, so that an error has its own status.
ANSWER_HEAD_BYTES: Final = 4 * 2**20
# An answer whose client waits for the end is held whole up to this size.
WHOLE_BYTES_MAX: Final = 256 * 2**20
# No bytes are no rows in this format; some others want at least a header.
_EMPTY: Final = "TabSeparated"
_SETTING_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# After these the connection's own state is another; it is not given to the next request.
_LEAVES_STATE: Final = re.compile(rb"^\W*(SET|USE)\b|\bTEMPORARY\b", re.IGNORECASE)


@dataclass(slots=True)
class Call:
    """A statement with all that a request says of how to run it."""

    statement: Statement
    database: str = DATABASE
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    default_format: str = "TabSeparated"
    # The protocol that the client names; 0: none.
    revision: int = 0
    # The client wants the status to tell how the whole statement ended.
    wait_for_end: bool = False
    # Told to the engine with the statement, so that it can be stopped when its client leaves.
    mark: str = ""
    # Tables that came with it; an analyst's are made before it gets here.
    externals: tuple[External, ...] = ()

    @property
    def output_format(self) -> str:
        """The format of the answer."""
        return self.statement.output_format or self.default_format


def opened(path: Path, settings: Iterable[str]) -> Any:
    """A connection to the engine that begins with these settings."""
    from chdb.state.sqlitelike import Connection

    connection = Connection(str(path))
    for setting in settings:
        connection.query(f"SET {setting}")
    return connection


def _apply(connection: Any, call: Call) -> None:
    for name in call.settings:
        if _SETTING_NAME.fullmatch(name) is None:
            raise refused(BAD_ARGUMENTS, f"{name!r} is not the name of a setting.")
    connection.query(f"USE {identifier(call.database)}")
    if call.settings:
        pairs = ", ".join(f"{name} = {quoted(value)}" for name, value in call.settings.items())
        connection.query(f"SET {pairs}")


def _insert(connection: Any, statement: Statement) -> dict[str, int]:
    """Insert the rows that came with the statement, as a SELECT from a file in memory.

    The engine's own `send_insert` answers success, with a number of rows, when the part could not be written on a full
    disk; a query fails as it should. A file in memory needs no room on that disk.
    """
    descriptor = os.memfd_create("rows", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as rows:
        rows.write(statement.rows)
        rows.flush()
        rows_format = statement.rows_format if statement.rows else _EMPTY
        source = f"SELECT * FROM file('/proc/self/fd/{descriptor}', '{rows_format}')"  # noqa: S608
        written = connection.query(f"{statement.text.decode()}\n{source}", "Null")
        return {"written_rows": written.rows_written(), "written_bytes": written.bytes_written()}


def _chunks(stream: Any) -> Iterator[bytes]:
    for chunk in stream:
        yield chunk.bytes()


def _for_client(call: Call, chunks: Iterator[bytes]) -> Iterator[bytes]:
    return framed(chunks) if call.output_format == "Native" and call.revision >= REVISION_MIN else chunks


def _head(chunks: Iterator[bytes], *, bytes_max: int) -> list[bytes]:
    head: list[bytes] = []
    size = 0
    while size < bytes_max and (chunk := next(chunks, None)) is not None:
        head.append(chunk)
        size += len(chunk)
    return head


def leaves_state(call: Call) -> bool:
    """Whether the statement leaves the connection another one than it found it."""
    return bool(call.settings or call.externals) or _LEAVES_STATE.search(call.statement.text) is not None


def run(connection: Any, call: Call, outlet: Outlet, pack: Callable[[Iterator[bytes]], Iterator[bytes]] = iter) -> None:
    """Run a statement on the calling thread and hand its answer, through `pack`, to the outlet.

    Raises ServiceError when the engine refuses it, and ClientGone when nobody waits for it any more. Of a result that
    can be sent in blocks only the head is made before the answer begins: ANSWER_HEAD_BYTES, or WHOLE_BYTES_MAX when the
    client waits for the end.
    """
    try:
        for table in call.externals:
            put(connection, table)
        _apply(connection, call)
        if call.statement.rows_format is not None:
            outlet.open(Opening(_insert(connection, call.statement), call.output_format, has_result=False))
        elif call.statement.reads and call.output_format in _JOINABLE:
            _stream(connection, call, outlet, pack)
        else:
            _whole(connection, call, outlet, pack)
    except (ServiceError, ClientGone):
        raise
    except Exception as error:
        raise from_engine(error) from error


def _text(call: Call) -> str:
    """The statement's text; at its end the mark by which it can be found among those that run."""
    text = call.statement.text.decode()
    return f"{text}\n-- {call.mark}" if call.mark and call.statement.reads else text


def _stream(connection: Any, call: Call, outlet: Outlet, pack: Callable[[Iterator[bytes]], Iterator[bytes]]) -> None:
    stream = connection.send_query(_text(call), call.output_format, params=dict(call.parameters))
    try:
        chunks = _for_client(call, _chunks(stream))
        head = _head(chunks, bytes_max=WHOLE_BYTES_MAX if call.wait_for_end else ANSWER_HEAD_BYTES)
        outlet.open(Opening({}, call.output_format, has_result=True))
        for block in pack(chain(head, chunks)):
            outlet.put(block)
    finally:
        stream.close()


def _whole(connection: Any, call: Call, outlet: Outlet, pack: Callable[[Iterator[bytes]], Iterator[bytes]]) -> None:
    result = connection.query(_text(call), call.output_format, params=dict(call.parameters))
    if result is None:
        outlet.open(Opening({}, call.output_format, has_result=call.statement.reads))
        return
    summary = {
        "read_rows": result.storage_rows_read(),
        "read_bytes": result.storage_bytes_read(),
        "result_rows": result.rows_read(),
        "written_rows": result.rows_written(),
        "written_bytes": result.bytes_written(),
    }
    body = result.bytes()
    outlet.open(Opening(summary, call.output_format, has_result=call.statement.reads or body != b""))
    for block in pack(_for_client(call, iter((body,)))):
        outlet.put(block)


def prepare(connection: Any) -> None:
    """Make the engine safe to serve: chDB's database `default` reads any file of the machine by its name, so it is
    replaced by a plain one, unless somebody keeps tables there."""
    connection.query(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
    query = "SELECT (SELECT engine FROM system.databases WHERE name = 'default'), count() FROM system.tables"
    found = connection.query(f"{query} WHERE database = 'default'", "TSV").bytes().decode().split()
    if found == ["Overlay", "0"]:
        connection.query("DROP DATABASE default")
        connection.query("CREATE DATABASE default ENGINE = Atomic")
