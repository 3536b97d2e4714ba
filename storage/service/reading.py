"""What an analyst may read, and how: an allow list on what the engine itself made of the statement.

1. The engine's formatter writes the statement out; that text is what is checked and what runs.
2. Its query tree before any name is resolved, which computes nothing: every function, every table function, and every
   name that could be a function or a table must be allowed.
3. Its query tree after names are resolved, where the engine may compute constants: functions and tables once more.
Then it runs with `readonly = 1`. What is not understood is refused; the operating system holds what this misses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from storage.service.access import User
from storage.service.allowed import allowed
from storage.service.canonical import Canonical, as_user, canonical
from storage.service.engine import Call, run
from storage.service.errors import (
    ACCESS_DENIED,
    READONLY,
    UNKNOWN_DATABASE,
    ServiceError,
    from_engine,
    refused,
)
from storage.service.external import External, for_reader, put
from storage.service.literals import identifier, quoted
from storage.service.organisations import Table, names_a_place, settings_of, without_values
from storage.service.outlet import Outlet
from storage.service.statements import Statement

_KIND: Final = re.compile(r"^ *([A-Z][A-Z_ ]*?) id: \d+", re.MULTILINE)
_FUNCTION: Final = re.compile(r"(?<!table_)function_name: ([^,\n]*)")
_TABLE_FUNCTION: Final = re.compile(r"table_function_name: ([^,\n]*)")
_IDENTIFIER: Final = re.compile(r"identifier: ([^,\n]*)")
_TABLE: Final = re.compile(r"(?<!temporary_)table_name: ([^,\n]*)")
_KINDS: Final = frozenset(
    {"QUERY", "UNION", "LIST", "FUNCTION", "CONSTANT", "LAMBDA", "ARGUMENT", "ARGUMENTS", "IDENTIFIER", "MATCHER"}
    | {"APPLY COLUMN TRANSFORMER", "EXCEPT COLUMN TRANSFORMER", "REPLACE COLUMN TRANSFORMER", "TABLE_FUNCTION"}
    | {"JOIN", "CROSS JOIN", "CROSS_JOIN", "ARRAY_JOIN", "SORT", "WINDOW", "INTERPOLATE", "COLUMN", "TABLE"}
)
_PREWHERE: Final = re.compile(r"^ *PREWHERE$", re.MULTILINE)
_SET_OR_PATH: Final = re.compile(r"^ *(?:Set$|TableIdentifier .*[/\\])", re.MULTILINE)
_SYSTEM: Final = "system"
# Where the engine keeps what WITH RECURSIVE has so far; nobody may name it.
_RECURSION: Final = "_temporary_and_external_tables"
_ONE: Final = ("system", "one")
_INFORMATION: Final = frozenset({"information_schema", "INFORMATION_SCHEMA"})
# While names are resolved, scalar subqueries are computed: on one block, as only their types matter here.
_RESOLVING: Final = {"max_rows_to_read": "1", "read_overflow_mode": "break", "max_result_bytes": str(16 * 2**20)}
_TABLES: Final = """SELECT t.database, t.name, t.engine, has(c.names, 'org_id'), arrayStringConcat(c.types, ', ')
FROM system.tables AS t
LEFT JOIN
(
    SELECT database, table, groupArray(name) AS names, groupArray(type) AS types
    FROM system.columns WHERE {columns} GROUP BY database, table
) AS c ON c.database = t.database AND c.table = t.name
WHERE {tables} FORMAT TSV"""


def _denied(what: str) -> ServiceError:
    return refused(ACCESS_DENIED, f"analyst: Not enough privileges to {what}.")


def settings_for(given: Mapping[str, str], limits: Mapping[str, str]) -> dict[str, str]:
    """The settings of a statement that an analyst gets, of those that he asks for; raises ServiceError 164.

    As on a server with `readonly = 2` and constraints: what shapes an answer is taken, what would exceed a limit or
    reach further is refused, and what clients send by habit and has no meaning here is ignored.
    """
    taken: dict[str, str] = {}
    list_of = allowed()
    for name, value in given.items():
        limit = int(limits.get(name, 0))
        number = int(float(value)) if re.fullmatch(r"\d{1,18}(?:\.\d+)?", value) else None
        over = number is None or (limit > 0 and not 0 < number <= limit)
        if name in list_of.settings_taken or (name in list_of.settings_at_most_the_limit and not over):
            taken[name] = value
        elif name in list_of.settings_cut_to_the_limit:
            taken[name] = str(limit) if over else value
        elif name not in list_of.settings_ignored and not name.startswith(list_of.settings_ignored_prefixes):
            raise refused(READONLY, f"Cannot modify '{name}' setting in readonly mode.")
    return taken


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the names of a statement may mean: the tables that exist."""

    tables: Mapping[tuple[str, str], Table]

    def check(self, name: tuple[str, str], organisation: str | None) -> None:
        """Raises ServiceError when an analyst may not read an existing table."""
        list_of = allowed()
        table = self.tables.get(name)
        engine = table.engine if table is not None else ""
        if name[0] == _SYSTEM:
            closed = name[1] not in list_of.system_tables
        elif name[0] in _INFORMATION or engine == "View":
            closed = False
        elif organisation is None:
            closed = engine not in list_of.table_engines
        else:
            closed = table is None or not table.organised or engine not in list_of.filterable_table_engines
            if table is not None and not closed and table.shares_values:
                why = "its columns must be of plain types, no LowCardinality among them"
                raise _denied(f"read {'.'.join(name)} of several organisations: {why}")
        if closed:
            raise _denied(f"read {'.'.join(name)}")


class Reading:
    """Runs analysts' statements."""

    def __init__(self, opened: Callable[[Iterable[str]], Any], limits: Mapping[str, str]) -> None:
        self._opened = opened
        self._limits = limits
        with self._connection({}) as connection:
            names = connection.query("SELECT lower(name) FROM system.functions", "TSVRaw").bytes().decode()
        self._functions = frozenset(names.split())

    @contextmanager
    def _connection(self, settings: Mapping[str, str], tables: Iterable[External] = ()) -> Iterator[Any]:
        chosen = {**self._limits, **settings}
        pairs = ", ".join(f"{name} = {quoted(value)}" for name, value in chosen.items())
        connection = self._opened((pairs,))
        try:
            for table in tables:
                put(connection, table)
            # `readonly` comes last: after it no setting can be changed, and no table made.
            connection.query("SET readonly = 1")
            yield connection
        finally:
            connection.close()

    def run(self, call: Call, user: User, outlet: Outlet, pack: Any) -> None:
        """Check it and run it for this user, to whom only the rows of his organisation are there, if he has one.

        Raises ServiceError."""
        try:
            self._run(call, user, outlet, pack)
        except ServiceError as error:
            raise (error if user.organisation is None else without_values(error)) from error

    def _run(self, call: Call, user: User, outlet: Outlet, pack: Any) -> None:
        if call.statement.rows_format is not None:
            raise refused(READONLY, "analyst: Cannot execute query in readonly mode.")
        try:
            tables = tuple(map(for_reader, call.externals))
            found, filters = self._checked(call, user)
            settings = settings_for({**call.settings, **found.settings}, self._limits) | filters
        except ServiceError:
            raise
        except Exception as error:
            raise from_engine(error) from error
        call.settings, call.externals = {}, ()
        call.statement = Statement(found.text.encode(), "SELECT" if found.text == found.select else "SHOW")
        call.default_format = found.output_format or call.default_format
        with self._connection(settings, tables) as connection:
            run(connection, call, outlet, pack)

    def _checked(self, call: Call, user: User) -> tuple[Canonical, dict[str, str]]:
        organisation, tables = user.organisation, [table.empty for table in call.externals]
        with self._connection({}, tables) as connection:
            found = canonical(as_user(_formatted(connection, call.statement.text), user.name))
            if (found.output_format or call.default_format).lower() not in allowed().formats:
                raise _denied(f"answer in format {found.output_format or call.default_format}")
            if not self._check_databases(connection, {call.database}):
                raise refused(UNKNOWN_DATABASE, f"Database {call.database} does not exist.")
            connection.query(f"USE {identifier(call.database)}")
            if _SET_OR_PATH.search(_said(connection, f"EXPLAIN AST {found.select or found.text}", call)) is not None:
                raise _denied("use these settings or this table")
            filters = _filters(connection, organisation) if organisation is not None else {}
            if found.select is None:
                return found, filters
            if found.estimates and organisation is not None:
                raise _denied("estimate over all organisations")
            tree = _said(connection, f"EXPLAIN QUERY TREE run_passes = 0 {found.select}", call)
            self._check_names(tree)
            if organisation is not None:
                _check_order(tree)
            catalogue = self._check_tables(connection, tree, call.database, organisation)
        with self._connection({**_RESOLVING, **filters}, tables) as connection:
            connection.query(f"USE {identifier(call.database)}")
            resolved = _said(connection, f"EXPLAIN QUERY TREE run_passes = 1 {found.select}", call)
        self._check_resolved(resolved, catalogue, organisation)
        return found, filters

    def _check_names(self, tree: str) -> None:
        list_of = allowed()
        if _KIND.match(tree) is None or (kind := next((k for k in _KIND.findall(tree) if k not in _KINDS), "")):
            raise _denied(f"use {kind or 'this'}")
        for name in _FUNCTION.findall(tree):
            if not list_of.function(name):
                raise _denied(f"use {name}")
        for name in _TABLE_FUNCTION.findall(tree):
            if name not in list_of.table_functions:
                raise _denied(f"use {name}")
        for name in _IDENTIFIER.findall(tree):
            # A function may be named without brackets: arrayMap(file, ...), * APPLY file.
            if name.lower() in self._functions and not list_of.function(name):
                raise _denied(f"use {name}")

    @staticmethod
    def _check_databases(connection: Any, names: set[str]) -> set[str]:
        """Those of the names that are databases; raises ServiceError for one that reaches out of the engine."""
        listed = ", ".join(map(quoted, sorted(names)))
        query = f"SELECT engine, name FROM system.databases WHERE name IN ({listed})"  # noqa: S608
        found = [line.partition("\t") for line in _lines(connection, query)]
        for engine, _, name in found:
            if engine not in allowed().database_engines:
                raise _denied(f"read {name}")
        return {name for _, _, name in found}

    def _check_tables(self, connection: Any, tree: str, database: str, organisation: str | None) -> Catalogue:
        """Before anything is computed: no name of the statement may be that of a table that may not be read."""
        candidates: set[tuple[str, str]] = set()
        for name in _IDENTIFIER.findall(tree):
            first, _, rest = name.partition(".")
            if first == _RECURSION:
                raise _denied(f"read {name}")
            candidates |= {(database, first), (database, name), (first, rest), (first, rest.partition(".")[0])}
        databases = self._check_databases(connection, {first for first, _ in candidates} - {_SYSTEM})
        catalogue = _catalogue(connection, {one for one in candidates if one[0] in databases | {_SYSTEM}} - {_ONE})
        for table in catalogue.tables:
            catalogue.check(table, organisation)
        return catalogue

    def _check_resolved(self, tree: str, catalogue: Catalogue, organisation: str | None) -> None:
        self._check_names(tree)
        for name in _TABLE.findall(tree):
            first, _, rest = name.partition(".")
            table = (first, rest)
            if first == _RECURSION:
                continue
            if table[0] != _SYSTEM and table not in catalogue.tables:
                raise _denied(f"read {name}")
            catalogue.check(table, organisation)


def _formatted(connection: Any, text: bytes) -> str:
    params = {"q": _escaped(text.decode(errors="replace"))}
    result = connection.query("SELECT formatQuerySingleLine({q:String})", "TSVRaw", params=params)
    return str(result.bytes().decode()).removesuffix("\n")


def _escaped(text: str) -> str:
    """The text as the value of a query parameter."""
    escapes = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0", "\b": "\\b", "\f": "\\f"}
    return "".join(escapes.get(letter, letter) for letter in text)


def _said(connection: Any, explain: str, call: Call) -> str:
    return str(connection.query(explain, "TSVRaw", params=dict(call.parameters)).bytes().decode(errors="replace"))


def _lines(connection: Any, query: str) -> list[str]:
    return str(connection.query(query, "TSVRaw").bytes().decode()).split("\n")[:-1]


def _check_order(tree: str) -> None:
    """What would be computed before the organisation's condition, or without it."""
    if _PREWHERE.search(tree) is not None:
        raise _denied("use PREWHERE; use WHERE")
    if (place := names_a_place(_IDENTIFIER.findall(tree))) is not None:
        raise _denied(f"use {place}")


def _tables(connection: Any, tables: str, columns: str) -> Iterator[Table]:
    for line in _lines(connection, _TABLES.format(tables=tables, columns=columns)):
        database, name, engine, organised, types = line.split("\t")
        yield Table(_unescaped(database), _unescaped(name), engine, organised == "1", _unescaped(types))


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), text)


def _catalogue(connection: Any, candidates: set[tuple[str, str]]) -> Catalogue:
    if not candidates:
        return Catalogue({})
    named = ", ".join(f"({quoted(database)}, {quoted(name)})" for database, name in sorted(candidates))
    found = _tables(connection, f"(t.database, t.name) IN ({named})", f"(database, table) IN ({named})")
    return Catalogue({(table.database, table.name): table for table in found})


def _filters(connection: Any, organisation: str) -> dict[str, str]:
    own = "database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema')"
    return settings_of(organisation, _tables(connection, f"t.{own}", own))
