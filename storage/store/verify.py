"""Is what was written there? Asked of ClickHouse itself, as an answer to an insert is no proof of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage import metrics
from storage.client import Client
from storage.insert import insert
from storage.store.fingerprint import Hashes, Prints, Shape, prints, quick_contents

# Keys in one question: they stand in its text, and a text has a limit (max_query_size).
KEYS_MAX: Final = 5_000


class UnwrittenError(Exception):
    """ClickHouse has acknowledged rows that are not there."""

    def __init__(self, table: str, rows: int, missing: int) -> None:
        super().__init__(
            f"ClickHouse acknowledged {rows} rows of table {table} and {missing} of them are not there; they are"
            " written again. Is its disk full? Nothing is lost: the log keeps them"
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the log rows come from: offsets [first, next) of a partition."""

    first_offset: int
    next_offset: int
    partition: int | None = None

    def sql(self) -> str:
        """The condition that a row comes from there."""
        found = f"log_offset >= {self.first_offset} AND log_offset < {self.next_offset}"
        return found if self.partition is None else f"log_partition = {self.partition} AND {found}"


def write(client: Client, shape: Shape, table: pa.Table, place: Place) -> None:
    """Insert the rows and see that they are there. Raises UnwrittenError when they are not, and what the client raises;
    writing them again is harmless."""
    insert(client, shape.table, table)
    must_hold(client, shape, table, place)


def must_hold(client: Client, shape: Shape, table: pa.Table, place: Place) -> None:
    """Raises UnwrittenError when a row of the table, or one that replaces it, is not in ClickHouse."""
    count = int(missing(client, shape, table, place).sum())
    if count:
        metrics.UNWRITTEN.labels(shape.table).inc(count)
        raise UnwrittenError(shape.table, table.num_rows, count)


def missing(client: Client, shape: Shape, table: pa.Table, place: Place) -> NDArray[np.bool_]:
    """Which rows are neither in ClickHouse nor replaced there by a row of the same key and a version not lower.

    Mostly one small question: number and sum of hashes of the rows from that place. Only when these differ (rows were
    replaced or came twice, another log was stored before, or rows are missing) the keys themselves are compared.
    """
    absent = np.zeros(table.num_rows, np.bool_)
    if table.num_rows == 0:
        return absent
    inside = _moments(shape, table)
    expected = table.num_rows, int(quick_contents(shape, table).sum(dtype=np.uint64))
    if _summed(client, shape, f"{place.sql()}{inside}") == expected:
        return absent
    given = prints(shape, table)
    newest = given.newest()
    there = _found(client, shape, f"{place.sql()}{inside}", "")
    doubtful = newest[~there.holds(given, newest)]
    for start in range(0, len(doubtful), KEYS_MAX):
        some = doubtful[start : start + KEYS_MAX]
        keys = ", ".join(map(str, given.keys[some].tolist()))
        there = _found(client, shape, f"1{inside}", f"WHERE k IN ({keys})")
        absent[some[~there.holds(given, some)]] = True
    return absent


def _moments(shape: Shape, table: pa.Table) -> str:
    """The condition that leaves out parts of other times."""
    if shape.moment is None:
        return ""
    moments = table[shape.moment].cast(pa.int64()).to_numpy()
    bounds = (f"fromUnixTimestamp64Milli({int(bound)}, 'UTC')" for bound in (moments.min(), moments.max()))
    return " AND {0} >= {1} AND {0} <= {2}".format(shape.moment, *bounds)


@dataclass(frozen=True, slots=True)
class _There:
    """Rows in ClickHouse: keys, sorted, with the highest version of each, and all contents."""

    keys: Hashes
    versions: Hashes
    contents: Hashes

    def holds(self, given: Prints, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which of the rows are there, or replaced by one with a higher version."""
        held = np.isin(given.contents[rows], self.contents)
        if len(self.keys):
            at = np.minimum(np.searchsorted(self.keys, given.keys[rows]), len(self.keys) - 1)
            held |= (self.keys[at] == given.keys[rows]) & (self.versions[at] > given.versions[rows])
        return held


def _rows(shape: Shape, where: str) -> str:
    # Numbers and names of columns; no text from outside is in it.
    columns = f"{shape.key_sql()} AS k, {shape.content_sql()} AS c, {shape.version_sql()} AS v"
    return f"(SELECT {columns} FROM {shape.table} WHERE {where})"  # noqa: S608


def _summed(client: Client, shape: Shape, where: str) -> tuple[int, int]:
    """Number of rows, and the sum of their hashes."""
    query = f"SELECT count(), sum({shape.quick_sql()}) FROM {shape.table} WHERE {where}"  # noqa: S608
    ((count, total),) = client.query(query).result_rows
    return int(count), int(total)


def _found(client: Client, shape: Shape, where: str, having: str) -> _There:
    query = f"SELECT k, c, max(v) FROM {_rows(shape, where)} {having} GROUP BY k, c ORDER BY k"  # noqa: S608
    columns = client.query(query, column_oriented=True).result_set or [[], [], []]
    keys, contents, versions = (np.fromiter(column, np.uint64, len(column)) for column in columns)
    if len(keys) == 0:
        return _There(keys, versions, contents)
    firsts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return _There(keys[firsts], np.maximum.reduceat(versions, firsts), contents)
