"""Which dead letters are settled: corrected, replayed or dropped by a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from sqlalchemy import Engine, insert, select

from control.database import writing
from control.tables import settled_letters

Settlement = Literal["fixed", "replayed", "dropped"]

# Letters in one statement; databases bound its parameters.
BATCH: Final = 500
_ID: Final = settled_letters.c.dead_letter_id


def settle(engine: Engine, letter_ids: Sequence[str], how: Settlement, *, settled_by: str, now_ms: int) -> None:
    """Record that these letters need nobody's attention any more; the first settlement of a letter stays."""
    distinct = list(dict.fromkeys(letter_ids))
    with writing(engine) as connection:
        for start in range(0, len(distinct), BATCH):
            batch = distinct[start : start + BATCH]
            known = set(connection.execute(select(_ID).where(_ID.in_(batch))).scalars())
            rows = [
                {"dead_letter_id": letter_id, "how": how, "settled_by": settled_by, "settled_ms": now_ms}
                for letter_id in batch
                if letter_id not in known
            ]
            if rows:
                connection.execute(insert(settled_letters), rows)


def settled_among(engine: Engine, letter_ids: Sequence[str]) -> dict[str, str]:
    """How those of these letters were settled that are, by id."""
    found: dict[str, str] = {}
    with engine.connect() as connection:
        for start in range(0, len(letter_ids), BATCH):
            batch = letter_ids[start : start + BATCH]
            rows = connection.execute(select(_ID, settled_letters.c.how).where(_ID.in_(batch)))
            found |= {row.dead_letter_id: row.how for row in rows}
    return found


def settled(engine: Engine) -> dict[str, str]:
    """How each settled letter was settled, by its id."""
    with engine.connect() as connection:
        rows = connection.execute(select(_ID, settled_letters.c.how))
        return {row.dead_letter_id: row.how for row in rows}
