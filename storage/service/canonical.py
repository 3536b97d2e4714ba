"""An analyst's statement in the engine's own words, taken apart: its body, its format, its settings, its kind.

The engine's formatter writes keywords in capitals and quotes what needs quotes, so that a few expressions are enough
here; what they do not match is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from storage.service.errors import READONLY, refused
from storage.service.literals import identifier, quoted

_QUOTED: Final = r"'(?:[^'\\]|\\.)*+'"
_NAME: Final = r"(?:[A-Za-z_]\w*|`(?:[^`\\]|\\.)*+`)"
_VALUE: Final = rf"(?:{_QUOTED}|-?[\d.]+(?:e[+-]?\d+)?|true|false)"
_SETTINGS: Final = re.compile(
    rf" SETTINGS ({_NAME} = {_VALUE}(?:, {_NAME} = {_VALUE})*)(?= FORMAT|\)|$| UNION| INTERSECT| EXCEPT)"
)
_SETTING: Final = re.compile(rf"({_NAME}) = ({_VALUE})")
# The formatter quotes a format that has the name of a keyword: `Null`.
_FORMAT: Final = re.compile(r" FORMAT (`?)(\w+)\1$")
_TOKEN: Final = re.compile(rf"{_QUOTED}|`(?:[^`\\]|\\.)*+`|\"(?:[^\"\\]|\\.)*+\"|[A-Za-z_]\w*|.", re.DOTALL)
# The engine knows one user. An alias that follows takes the place of ours.
_CURRENT_USER: Final = re.compile(
    rf"{_QUOTED}|`(?:[^`\\]|\\.)*+`|\"(?:[^\"\\]|\\.)*+\""
    r"|(?<![\w.])(?P<call>(?:currentUser|(?i:current_user|session_user|user))\(\))(?P<alias>(?= AS ))?",
    re.DOTALL,
)
# Words of clauses that write, or that were taken out before.
_LEFT_OVER: Final = frozenset({"SETTINGS", "FORMAT", "OUTFILE", "INFILE", "STDOUT", "PARALLEL"})

_EXPLAIN: Final = re.compile(
    r"EXPLAIN(?: (AST|SYNTAX|QUERY TREE|PIPELINE|ESTIMATE|PLAN))?(?: \w+ = \d+(?:, \w+ = \d+)*)? (?=SELECT |WITH |\()"
)
_DESCRIBE: Final = re.compile(r"DESCRIBE (?:TABLE )?")
_SHOW_CREATE: Final = re.compile(rf"SHOW CREATE (?:TABLE |VIEW )?({_NAME}(?:\.{_NAME})?)$")
_SHOW_SETTINGS: Final = re.compile(r"SHOW (?:CHANGED )?SETTINGS\b")
_METADATA: Final = re.compile(
    rf"""
      EXISTS\ (?:TABLE\ |VIEW\ |DATABASE\ |DICTIONARY\ )?{_NAME}(?:\.{_NAME})?
    | SHOW\ CREATE\ DATABASE\ {_NAME}
    | SHOW\ (?:FULL\ |EXTENDED\ |CHANGED\ )*
      (?:TABLES|DATABASES|DICTIONARIES|COLUMNS|FIELDS|FUNCTIONS|SETTINGS|SETTING\ \w+|ENGINES|INDEX(?:ES)?|INDICES|KEYS)
      (?:\ (?:FROM|IN)\ {_NAME}(?:\.{_NAME})?){{0,2}}
      (?:\ (?:NOT\ )?I?LIKE\ {_QUOTED})?
      (?:\ LIMIT\ \d+)?
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Canonical:
    """A statement without its FORMAT and SETTINGS. `select` is a SELECT that names all that the statement names; None
    when it names metadata only."""

    text: str
    select: str | None
    output_format: str | None
    settings: dict[str, str]
    estimates: bool = False


def _words(text: str) -> Iterator[str]:
    for token in _TOKEN.finditer(text):
        if token[0][0].isalpha() or token[0][0] == "_":
            yield token[0]


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith("'") else value


def _end_of_show(text: str) -> int:
    """Where SHOW SETTINGS, which names the word, ends; 0 for other statements."""
    found = _SHOW_SETTINGS.match(text)
    return found.end() if found is not None else 0


def _without_settings(text: str) -> tuple[str, dict[str, str]]:
    """Only outside quotes, where the pattern begins at a token's end."""
    settings: dict[str, str] = {}
    kept: list[str] = []
    at = first = _end_of_show(text)
    kept.append(text[:first])
    for token in _TOKEN.finditer(text):
        if token.start() < at or token[0] != "SETTINGS":
            continue
        found = _SETTINGS.match(text, token.start() - 1)
        if found is None:
            raise refused(READONLY, "analyst: these SETTINGS cannot be read.")
        kept.append(text[at : found.start()])
        at = found.end()
        settings.update((name.strip("`"), _unquoted(value)) for name, value in _SETTING.findall(found[1]))
    return "".join(kept) + text[at:], settings


def as_user(text: str, name: str) -> str:
    """The formatted statement with the user's name where it asks for it; the column keeps its name.

    >>> as_user("SELECT currentUser(), user() AS me, 'user()'", "ann")
    "SELECT ('ann' AS `currentUser()`), 'ann' AS me, 'user()'"
    """
    literal = quoted(name)

    def written(found: re.Match[str]) -> str:
        if found["call"] is None:
            return found[0]
        return literal if found["alias"] is not None else f"({literal} AS {identifier(found['call'])})"

    return _CURRENT_USER.sub(written, text)


def canonical(text: str) -> Canonical:
    """The formatted statement taken apart; raises ServiceError 164 for what an analyst may not, or what is not
    understood.

    >>> canonical("SELECT 1 FORMAT JSON SETTINGS max_threads = 1")
    Canonical(text='SELECT 1', select='SELECT 1', output_format='JSON', settings={'max_threads': '1'}, estimates=False)
    >>> canonical("SELECT 1 FORMAT `Null`").output_format
    'Null'
    >>> canonical("DESCRIBE TABLE events").select
    'SELECT * FROM events'
    """
    text, settings = _without_settings(text)
    named = _FORMAT.search(text)
    output_format = named[2] if named is not None else None
    text = text[: named.start()] if named is not None else text
    if (word := next((word for word in _words(text[_end_of_show(text) :]) if word in _LEFT_OVER), None)) is not None:
        raise refused(READONLY, f"analyst: {word} is not allowed here.")
    select, estimates = _select_of(text)
    return Canonical(text, select, output_format, settings, estimates)


def _select_of(text: str) -> tuple[str | None, bool]:
    if text.startswith(("SELECT ", "WITH ", "(")):
        return text, False
    if (found := _EXPLAIN.match(text)) is not None:
        return text[found.end() :], found[1] == "ESTIMATE"
    if (found := _DESCRIBE.match(text)) is not None:
        return f"SELECT * FROM {text[found.end() :]}", False  # noqa: S608
    if (found := _SHOW_CREATE.fullmatch(text)) is not None:
        return f"SELECT * FROM {found[1]}", False  # noqa: S608
    if _METADATA.fullmatch(text) is not None:
        return None, False
    raise refused(READONLY, "analyst: Cannot execute query in readonly mode.")
