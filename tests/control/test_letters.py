"""Which dead letters are settled."""

from __future__ import annotations

from control.letters import BATCH, settle, settled
from control.store import ControlStore


def test_the_first_settlement_of_a_letter_stays(store: ControlStore) -> None:
    settle(store.engine, ["a", "b", "a"], "fixed", settled_by="ana", now_ms=1)
    settle(store.engine, ["b", "c"], "replayed", settled_by="ben", now_ms=2)
    assert settled(store.engine) == {"a": "fixed", "b": "fixed", "c": "replayed"}


def test_more_letters_than_one_statement_takes_are_settled_together(store: ControlStore) -> None:
    letters = [f"letter-{n}" for n in range(2 * BATCH + 1)]
    settle(store.engine, letters, "dropped", settled_by="ana", now_ms=1)
    assert len(settled(store.engine)) == len(letters)
