"""ClickHouse in memory: tables that replace rows by key, behind the client that the store uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Final, NamedTuple, TypeVar

import pyarrow as pa
from clickhouse_connect.driver.exceptions import OperationalError
from clickhouse_connect.driver.external import ExternalData

from storage import reconcile
from storage.store import late_duplicates, source
from tests.simulation.network import Link, UnreachableError

Row = dict[str, Any]
Answer = TypeVar("Answer")

# The key of each table, and the column by which the newer row wins; "": the one inserted last.
TABLES: Final = {
    "events": (("org_id", "campaign_id", "ts", "event_id"), ""),
    "kpi_windows": (
        ("org_id", "campaign_id", "level", "window", "window_start", "creative_id", "channel", "country", "device"),
        "version",
    ),
    "decisions": (("org_id", "campaign_id", "ts", "decision_id"), ""),
    "dead_letters": (("org_id", "ts", "dead_letter_id"), ""),
    "campaigns": (("org_id", "campaign_id"), "version"),
    "corrections": (("org_id", "campaign_id", "ts", "correction_id"), ""),
}


class Warehouse:
    """The tables. `lies` makes the next inserts answer well and write nothing, as an engine on a full disk did."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[tuple[Any, ...], Row]] = {name: {} for name in TABLES}
        self.lies = 0
        # The log that rows come from, and how many inserts there were before it was noted: ClickHouse's clock here.
        self.log = ("", 0)
        self.inserts = 0

    def rows(self, name: str) -> list[Row]:
        return list(self.tables[name].values())

    def insert(self, name: str, rows: list[Row]) -> None:
        key, newer = TABLES[name]
        table = self.tables[name]
        self.inserts += 1
        for row in rows:
            row["stored_ms"] = self.inserts
            place = tuple(row[column] for column in key)
            there = table.get(place)
            if there is None or not newer or row[newer] >= there[newer]:
                table[place] = row

    def delete(self, name: str, is_meant: Callable[[Row], bool]) -> None:
        self.tables[name] = {key: row for key, row in self.tables[name].items() if not is_meant(row)}


class Answered(NamedTuple):
    """A query's answer."""

    result_rows: list[tuple[Any, ...]]


class SimClient:
    """What the store calls of clickhouse_connect's client."""

    def __init__(self, warehouse: Warehouse, link: Link) -> None:
        self.warehouse = warehouse
        self._link = link

    def raw_insert(
        self, name: str, *, column_names: Sequence[str], insert_block: bytes, fmt: str, settings: Row | None = None
    ) -> None:
        rows = decoded(insert_block)
        if self.warehouse.lies:
            self.warehouse.lies -= 1
            rows = []
        self._call(lambda: self.warehouse.insert(name, rows))

    def query(
        self, statement: str, *, parameters: Row | None = None, external_data: ExternalData | None = None
    ) -> Answered:
        """The questions that reconciliation asks, and those of the search for late duplicates."""
        if statement == source._NEWEST:
            identity, since = self._call(lambda: self.warehouse.log)
            return Answered([(identity, since)] if identity else [])
        assert parameters is not None
        if statement == late_duplicates._CLOCK:
            return Answered([(max(self._times(parameters), default=None),)])
        if statement == late_duplicates._FOUND:
            assert external_data is not None
            return Answered(self._found(external_data, parameters["since"]))
        return self._days(statement, parameters)

    def insert(self, name: str, rows: Sequence[Sequence[str]], *, column_names: Sequence[str]) -> None:
        """The one note on which log it is."""
        assert name == "stored_logs"

        def note() -> None:
            self.warehouse.log = rows[0][0], self.warehouse.inserts

        self._call(note)

    def _times(self, parameters: Row) -> list[int]:
        partition, low, high = (parameters[name] for name in ("partition", "low", "high"))
        rows = self._call(lambda: self.warehouse.rows("events"))
        return [row["ts"] for row in rows if row["log_partition"] == partition and low <= row["log_offset"] < high]

    def _found(self, wanted: ExternalData, since: int) -> list[tuple[Any, ...]]:
        keys = [tuple(row.values()) for row in decoded(wanted.files[0].data)]
        table = self._call(lambda: self.warehouse.tables["events"])
        there = [table[key] for key in keys if key in table]
        names = [field.name for field in fields(late_duplicates.Row)]
        columns = {"ts_ms": "ts", "partition": "log_partition", "offset": "log_offset"}
        return [tuple(row[columns.get(name, name)] for name in names) for row in there if row["stored_ms"] >= since]

    def _days(self, statement: str, parameters: Row) -> Answered:
        days = [
            (row["org_id"], row["campaign_id"], row["window_start"], row["window_end"], row.get("log_offset", -1) >= 0)
            for row in self._call(lambda: self.warehouse.rows("kpi_windows"))
            if (row["level"], row["window"]) == ("campaign", "day")
        ]
        if statement == reconcile._OVERLAPPING:
            overlapping = _overlapping(days)
            return Answered([day for day in days if _campaign_of(day) in overlapping])
        assert statement == reconcile._DAYS
        low, high, campaigns = parameters["low"], parameters["high"], parameters["campaigns"]
        return Answered([day for day in days if _campaign_of(day) in campaigns and day[3] > low and day[2] <= high])

    def command(self, statement: str, *, parameters: Row) -> None:
        """The one deletion that reconciliation makes."""
        assert statement == reconcile._FORGET
        wanted = (*(parameters[name] for name in ("org_id", "campaign_id", "day_start", "day_end")), "day")
        names = ("org_id", "campaign_id", "window_start", "window_end", "window")
        self._call(lambda: self.warehouse.delete("kpi_windows", lambda row: tuple(row[n] for n in names) == wanted))

    def holds(self, name: str, rows: list[Row]) -> list[bool]:
        """Which of the rows are there, or replaced by one of the same key that is not older."""
        key, newer = TABLES[name]
        table = self._call(lambda: self.warehouse.tables[name])
        there = [table.get(tuple(row[column] for column in key)) for row in rows]
        return [
            found is not None and (not newer or found[newer] >= row[newer])
            for found, row in zip(there, rows, strict=True)
        ]

    def recompute(self, rows: list[Row]) -> None:
        """INSERT INTO kpi_windows SELECT ...; a row keeps the place in the log of the one it replaces."""
        key, _ = TABLES["kpi_windows"]
        table = self.warehouse.tables["kpi_windows"]
        for row in rows:
            there = table.get(tuple(row[column] for column in key))
            row["log_offset"] = -1 if there is None else there.get("log_offset", -1)
        self._call(lambda: self.warehouse.insert("kpi_windows", rows))

    def close(self) -> None:
        """Nothing to close."""

    def _call(self, work: Callable[[], Answer]) -> Answer:
        try:
            return self._link.call(work)
        except UnreachableError as error:
            raise OperationalError(str(error)) from error


def _campaign_of(day: tuple[Any, ...]) -> tuple[Any, ...]:
    return day[:2]


def _overlapping(days: list[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    """Campaigns with a day that begins before another has ended."""
    return {
        _campaign_of(one)
        for one in days
        for other in days
        if _campaign_of(one) == _campaign_of(other) and one[2] < other[2] < one[3]
    }


def decoded(block: bytes) -> list[Row]:
    """Rows of an Arrow stream; moments as milliseconds."""
    return rows_of(pa.ipc.open_stream(block).read_all())


def rows_of(table: pa.Table) -> list[Row]:
    """A table's rows; moments as milliseconds."""
    columns = {}
    for name in table.column_names:
        column = table[name]
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        columns[name] = column.to_pylist()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
