"""chDB's connections: each statement runs alone on one of them, with its own database, settings and parameters.

Measured with chDB 26.9: connections of one process run at the same time, an insert goes on beside a long SELECT, and
Python's lock is free while the engine works. One process owns a data directory.
"""

from __future__ import annotations

import os
import queue
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from storage.service.errors import BAD_ARGUMENTS, from_engine, refused
from storage.service.statements import Statement

DATABASE: Final = "penstock"
# Of these formats the engine's blocks can be joined into one answer; others are whole only as one piece.
_JOINABLE: Final = frozenset(
    {"Native", "TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "CSV", "RowBinary", "JSONEachRow"}
    | {"JSONCompactEachRow", "JSONLines", "NDJSON", "LineAsString"}
)
# An answer up to this size is made before its first byte is sent, so that an error has its own status.
ANSWER_HEAD_BYTES: Final = 4 * 2**20
# No bytes are no rows in this format; some others want at least a header.
_EMPTY: Final = "TabSeparated"
_SETTING_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# After these the connection's own state is another; it is not given to the next request.
_LEAVES_STATE: Final = re.compile(rb"^\W*(SET|USE)\b|\bTEMPORARY\b", re.IGNORECASE)


def quoted(text: str) -> str:
    """A string literal.

    >>> quoted("it's")
    "'it\\\\'s'"
    """
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(name: str) -> str:
    """A quoted identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


@dataclass(slots=True)
class Call:
    """A statement with all that a request says of how to run it."""

    statement: Statement
    database: str = DATABASE
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    default_format: str = "TabSeparated"
    # The client wants the status to tell how the whole statement ended.
    wait_for_end: bool = False

    @property
    def output_format(self) -> str:
        """The format of the answer."""
        return self.statement.output_format or self.default_format


@dataclass(slots=True)
class Answer:
    """What a statement answered: `head` is there, `rest` is what the engine still makes; `close` ends it."""

    head: list[bytes]
    rest: Iterator[bytes]
    close: Callable[[], None]
    summary: dict[str, int]


class Connections:
    """A pool of the engine's connections that begin with the same settings."""

    def __init__(self, path: Path, count: int, settings: tuple[str, ...]) -> None:
        self._path = path
        self._settings = settings
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(self._opened())

    def _opened(self) -> Any:
        from chdb.state.sqlitelike import Connection

        connection = Connection(str(self._path))
        for setting in self._settings:
            connection.query(f"SET {setting}")
        return connection

    def take(self) -> Any:
        """A connection that is now the caller's."""
        return self._idle.get()

    def give_back(self, connection: Any, *, spoilt: bool) -> None:
        """Take it back; a spoilt one is replaced."""
        if spoilt:
            connection.close()
            connection = self._opened()
        self._idle.put(connection)

    @contextmanager
    def borrowed(self) -> Iterator[Any]:
        """A connection for the context; for statements that leave no state behind."""
        connection = self.take()
        try:
            yield connection
        finally:
            self.give_back(connection, spoilt=False)

    def close(self) -> None:
        """Close the idle ones."""
        while not self._idle.empty():
            self._idle.get().close()


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


def _head(chunks: Iterator[bytes], *, bytes_max: int) -> list[bytes]:
    head: list[bytes] = []
    size = 0
    while size < bytes_max and (chunk := next(chunks, None)) is not None:
        head.append(chunk)
        size += len(chunk)
    return head


def run(connections: Connections, call: Call, *, whole_bytes_max: int = 256 * 2**20) -> Answer:
    """Run a statement; call it off the event loop. Raises ServiceError.

    The answer holds its connection until it is closed. Of a result that can be sent in blocks only the head is made
    here: ANSWER_HEAD_BYTES, or whole_bytes_max when the client waits for the end.
    """
    connection = connections.take()
    spoilt = bool(call.settings) or _LEAVES_STATE.search(call.statement.text) is not None
    try:
        _apply(connection, call)
        if call.statement.rows_format is not None:
            summary = _insert(connection, call.statement)
            answer = Answer([], iter(()), lambda: None, summary)
        elif call.statement.reads and call.output_format in _JOINABLE:
            limit = whole_bytes_max if call.wait_for_end else ANSWER_HEAD_BYTES
            answer = _streamed(connection, call, limit)
        else:
            answer = _whole(connection, call)
    except Exception as error:
        connections.give_back(connection, spoilt=True)
        raise from_engine(error) from error
    return _closing(answer, lambda: connections.give_back(connection, spoilt=spoilt))


def _streamed(connection: Any, call: Call, head_bytes: int) -> Answer:
    stream = connection.send_query(call.statement.text.decode(), call.output_format, params=dict(call.parameters))
    chunks = _chunks(stream)
    return Answer(_head(chunks, bytes_max=head_bytes), chunks, stream.close, {})


def _whole(connection: Any, call: Call) -> Answer:
    result = connection.query(call.statement.text.decode(), call.output_format, params=dict(call.parameters))
    if result is None:
        return Answer([], iter(()), lambda: None, {})
    summary = {
        "read_rows": result.storage_rows_read(),
        "read_bytes": result.storage_bytes_read(),
        "result_rows": result.rows_read(),
        "written_rows": result.rows_written(),
        "written_bytes": result.bytes_written(),
    }
    return Answer([result.bytes()], iter(()), lambda: None, summary)


def _closing(answer: Answer, give_back: Callable[[], None]) -> Answer:
    """The answer, whose close also gives the connection back; closing twice does nothing more."""
    end = answer.close
    closed = False

    def close() -> None:
        nonlocal closed
        if closed:
            return
        closed = True
        try:
            end()
        finally:
            give_back()

    answer.close = close
    return answer


def prepare(connections: Connections) -> None:
    """Make the engine safe to serve: chDB's database `default` reads any file of the machine by its name, so it is
    replaced by a plain one, unless somebody keeps tables there."""
    with connections.borrowed() as connection:
        connection.query(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
        query = "SELECT (SELECT engine FROM system.databases WHERE name = 'default'), count() FROM system.tables"
        found = connection.query(f"{query} WHERE database = 'default'", "TSV").bytes().decode().split()
        if found == ["Overlay", "0"]:
            connection.query("DROP DATABASE default")
            connection.query("CREATE DATABASE default ENGINE = Atomic")
