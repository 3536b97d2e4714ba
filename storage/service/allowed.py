"""What an analyst's statement may name: the reviewed list beside this file, as sets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Allowed:
    """`storage/service/allowed.json`; names of functions and formats in small letters."""

    functions: frozenset[str]
    aggregate_suffixes: tuple[str, ...]
    table_functions: frozenset[str]
    database_engines: frozenset[str]
    table_engines: frozenset[str]
    filterable_table_engines: frozenset[str]
    system_tables: frozenset[str]
    formats: frozenset[str]
    settings_taken: frozenset[str]
    settings_at_most_the_limit: frozenset[str]
    settings_cut_to_the_limit: frozenset[str]
    settings_ignored: frozenset[str]
    settings_ignored_prefixes: tuple[str, ...]

    def function(self, name: str) -> bool:
        """Whether a function may be named, an aggregate's combinations among them.

        >>> [allowed().function(name) for name in ("sum", "sumIf", "uniqExactArrayIf", "file", "SLEEP", "sumMerge")]
        [True, True, True, False, False, False]
        """
        lower = name.lower()
        while lower not in self.functions:
            shorter = next((lower.removesuffix(end) for end in self.aggregate_suffixes if lower.endswith(end)), "")
            if not shorter:
                return False
            lower = shorter
        return True


@cache
def allowed() -> Allowed:
    """The list, read once."""
    told = json.loads(files(__package__).joinpath("allowed.json").read_text())
    settings = told["settings"]
    return Allowed(
        functions=frozenset(name.lower() for names in told["functions"].values() for name in names),
        aggregate_suffixes=tuple(suffix.lower() for suffix in told["aggregate_suffixes"]),
        table_functions=frozenset(told["table_functions"]),
        database_engines=frozenset(told["database_engines"]),
        table_engines=frozenset(told["table_engines"]),
        filterable_table_engines=frozenset(told["filterable_table_engines"]),
        system_tables=frozenset(told["system_tables"]),
        formats=frozenset(name.lower() for name in told["formats"]),
        settings_taken=frozenset(settings["taken"]),
        settings_at_most_the_limit=frozenset(settings["at_most_the_limit"]),
        settings_cut_to_the_limit=frozenset(settings["cut_to_the_limit"]),
        settings_ignored=frozenset(settings["ignored"]),
        settings_ignored_prefixes=tuple(settings["ignored_prefixes"]),
    )
