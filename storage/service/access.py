"""Who may do what: `default` everything, `analyst` reading."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from storage.service.engine import DATABASE, Call
from storage.service.errors import (
    ACCESS_DENIED,
    AUTHENTICATION_FAILED,
    READONLY,
    ServiceError,
    from_engine,
    refused,
)
from storage.service.statements import Statement, statement

# Table functions that only make rows from their arguments; every other one reaches out of the database.
_HARMLESS: Final = frozenset(
    {"numbers", "numbers_mt", "zeros", "zeros_mt", "primes", "values", "sqlstandardvalues", "view", "viewexplain"}
    | {"generaterandom", "generateseries", "generate_series", "null", "format", "merge", "dictionary"}
)
# Functions of one value that read files or run a library.
_REACHING: Final = frozenset({"file", "catboostevaluate", "sleep", "sleepeachrow"})
_ALLOWED: Final = re.compile(r"(Select|Explain|Describe|Show|Exists)")
_FUNCTION: Final = re.compile(r"^\s*Function (\S+)", re.MULTILINE)
_TABLE: Final = re.compile(r"^\s*(TableIdentifier|Identifier) (.*)$", re.MULTILINE)
_OUTFILE: Final = re.compile(r"\bINTO\s+OUTFILE\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class User:
    """A name and its password; an empty password asks for none."""

    name: str
    password: str = ""
    reads_only: bool = False


def _basic(header: str) -> tuple[str, str] | None:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return name, password


def authenticated(users: Mapping[str, User], headers: Mapping[str, str], query: Mapping[str, str]) -> User:
    """The user of a request, from X-ClickHouse-User and -Key, basic authentication, or `user` and `password` in the
    URL; nobody named is `default`. Raises ServiceError 516."""
    if "x-clickhouse-user" in headers:
        given = headers["x-clickhouse-user"], headers.get("x-clickhouse-key", "")
    else:
        given = _basic(headers.get("authorization", "")) or (
            query.get("user", "default"),
            query.get("password", ""),
        )
    user = users.get(given[0] or "default")
    if user is None or not hmac.compare_digest(user.password.encode(), given[1].encode()):
        detail = f"{given[0]}: Authentication failed: password is incorrect, or there is no user with such name."
        raise refused(AUTHENTICATION_FAILED, detail)
    return user


def _escaped(text: str) -> str:
    """The text as the value of a query parameter."""
    escapes = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0", "\b": "\\b", "\f": "\\f"}
    return "".join(escapes.get(letter, letter) for letter in text)


class ReadingOnly:
    """What an analyst's statement may be. The engine itself checks `readonly = 1`; that leaves open functions that read
    files, and clauses that the embedded engine acts on as a client would. So the engine's own parser says which
    statement it is and which functions and tables it names, and the statement that runs is the one it has parsed."""

    def __init__(self, connection: Any) -> None:
        names = connection.query("SELECT lower(name) FROM system.table_functions", "TSVRaw").bytes().decode()
        self._refused = (frozenset(names.split()) - _HARMLESS) | _REACHING

    def checked(self, connection: Any, call: Call) -> Call:
        """The call in the parser's words; raises ServiceError (READONLY, ACCESS_DENIED, or the parser's)."""
        if call.settings:
            name = next(iter(call.settings))
            raise refused(READONLY, f"Cannot modify '{name}' setting in readonly mode.")
        if call.statement.rows_format is not None:
            raise refused(READONLY, "analyst: Cannot execute query in readonly mode.")
        try:
            text = self._parsed(connection, call.statement)
            self._allow(self._tree(connection, text, call.parameters))
        except ServiceError:
            raise
        except Exception as error:
            raise from_engine(error) from error
        call.statement = statement(text.encode(), b"")
        call.database = DATABASE if call.database == "default" else call.database
        return call

    @staticmethod
    def _parsed(connection: Any, given: Statement) -> str:
        escaped = _escaped(given.text.decode(errors="replace"))
        result = connection.query("SELECT formatQuerySingleLine({q:String})", "TSVRaw", params={"q": escaped})
        text = str(result.bytes().decode()).removesuffix("\n")
        if _OUTFILE.search(text):
            raise refused(READONLY, "analyst: INTO OUTFILE writes a file.")
        return text

    @staticmethod
    def _tree(connection: Any, text: str, parameters: Mapping[str, str]) -> str:
        result = connection.query(f"EXPLAIN AST {text}", "TSVRaw", params=dict(parameters))
        return str(result.bytes().decode())

    def _allow(self, tree: str) -> None:
        if _ALLOWED.match(tree) is None:
            raise refused(READONLY, "analyst: Cannot execute query in readonly mode.")
        for name in _FUNCTION.findall(tree):
            if name.lower() in self._refused:
                raise refused(ACCESS_DENIED, f"analyst: Not enough privileges to use {name}.")
        for kind, name in _TABLE.findall(tree):
            if name.startswith("default.") or (kind == "TableIdentifier" and "/" in name):
                raise refused(ACCESS_DENIED, f"analyst: Not enough privileges to read {name}.")
