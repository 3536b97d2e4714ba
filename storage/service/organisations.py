"""What keeps an organisation's analyst to his organisation's rows, and from testing guesses about others'.

The engine adds the condition `org_id = '...'` to every read of a table that has an organisation, in views, joins and
subqueries too. No expression of a statement may meet another's row or value before that condition has, not even where
the engine only looks what to read: it fails, or not, by what it meets. So the condition stands in the reader of the
table and alone, no index, statistics or cache is asked about a statement's own conditions, and tables whose columns
keep values of several rows together are closed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from storage.service.errors import TIMEOUT_EXCEEDED, ServiceError
from storage.service.literals import quoted

# The organisation's condition is read and decided first, by itself: the engine neither puts others before it, nor makes
# one of both. Other columns are then read of the granules that have rows of it.
_FIRST: Final = {
    "optimize_move_to_prewhere": "1",
    "optimize_move_to_prewhere_if_final": "1",
    "query_plan_merge_filters": "0",
}
# An index's marks and a part's bounds are values of all organisations, and the engine computes conditions on them:
# `toDateTime64(ts + INTERVAL 236 YEAR, 9) > 0` failed with another's latest time in its words.
_NOT_ASKED: Final = dict.fromkeys(
    (
        "use_primary_key", "use_partition_pruning", "use_skip_indexes", "use_skip_indexes_if_final",
        "use_skip_indexes_on_data_read", "use_skip_indexes_for_top_k", "use_statistics_for_part_pruning",
        "use_statistics_for_min_max_aggregation", "use_query_condition_cache", "optimize_use_projections",
        "optimize_use_implicit_projections", "optimize_trivial_count_query", "use_top_k_dynamic_filtering",
        "enable_join_runtime_filters",
    ),
    "0",
)  # fmt: skip
# What the engine knows of where a row lies: it decides by it before it reads, and it counts others' rows.
WHERE_A_ROW_LIES: Final = frozenset(
    {"_part", "_part_index", "_part_starting_offset", "_part_uuid", "_part_offset", "_part_granule_offset"}
    | {"_part_data_version", "_partition_id", "_partition_value", "_sample_factor", "_disk_name", "_distance"}
    | {"_row_exists", "_block_number", "_block_offset"}
)
# Types of which one piece holds the values of many rows.
_SHARED_VALUES: Final = re.compile(r"\b(?:LowCardinality|Dynamic|Variant|JSON|Object)\b")
_CLOSED: Final = "throwIf(materialize(1), 'a table of several organisations has a column that keeps values together')"

# An error about a value has this; the statement's own mistakes have not.
_WHILE_EXECUTING: Final = re.compile(r"while executing", re.IGNORECASE)
# Time, rows, memory, size, cancelled: of the statement as a whole.
_LIMITS: Final = frozenset({TIMEOUT_EXCEEDED, 158, 241, 306, 307, 394, 396})
_NAME_OF_ERROR: Final = re.compile(r"\(([A-Z][A-Z0-9_]+)\)")


@dataclass(frozen=True, slots=True)
class Table:
    """A table as the catalogue has it."""

    database: str
    name: str
    engine: str
    # It has a column org_id.
    organised: bool
    # The types of its columns, one after the other.
    types: str

    @property
    def shares_values(self) -> bool:
        """One of its columns keeps values of several rows together, as a dictionary does; a view keeps nothing.

        >>> Table("d", "t", "MergeTree", True, "String, Array(LowCardinality(String))").shares_values
        True
        >>> Table("d", "t", "MergeTree", True, "String, Enum8('JSON' = 1)").shares_values
        False
        """
        plain = re.sub(r"'(?:[^'\\]|\\.)*+'", "", self.types)
        return self.engine != "View" and _SHARED_VALUES.search(plain) is not None


def settings_of(organisation: str, tables: Iterable[Table]) -> dict[str, str]:
    """The settings of all that an organisation's analyst runs."""
    own = f"org_id = {quoted(organisation)}"
    # A view may read a table that the statement does not name.
    pairs = ", ".join(
        f"{quoted(f'{table.database}.{table.name}')}: {quoted(_CLOSED if table.shares_values else own)}"
        for table in tables
        if table.organised
    )
    return {"additional_table_filters": f"{{{pairs}}}", **_FIRST, **_NOT_ASKED}


def names_a_place(names: Iterable[str]) -> str | None:
    """The first of the names (`table.column`) that says where a row lies.

    >>> names_a_place(["events.ts", "e._part_offset"])
    '_part_offset'
    """
    parts = (part for name in names for part in name.split("."))
    return next((part for part in parts if part in WHERE_A_ROW_LIES), None)


def without_values(error: ServiceError) -> ServiceError:
    """The error, unless it is about a value: what fails on a row shows none of it."""
    if error.code in _LIMITS or _WHILE_EXECUTING.search(str(error)) is None:
        return error
    names = _NAME_OF_ERROR.findall(str(error))
    name = f" ({names[-1]})" if names else ""
    return ServiceError(
        error.code, f"Code: {error.code}. DB::Exception: The statement fails on a value of a row.{name}"
    )
