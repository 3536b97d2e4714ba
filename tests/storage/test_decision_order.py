"""The newest decision is the one taken last, whatever the time of the event that caused it."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.decisions import Kind, next_sequence
from storage.queries import KpiReader
from storage.store.feeds import topic_feeds
from tests.storage.conftest import Database
from tests.support.decisions import decision
from tests.support.memory_log import MemoryLog

NOW_MS = 1_772_409_600_000


def store(database: Database, decisions: list[dict[str, Any]]) -> None:
    log = MemoryLog()
    log.append(topics.DECISIONS, 0, [msgspec.json.encode(one) for one in decisions])
    for feed in topic_feeds(log, raw_ttl_days=90):
        while feed.step(database.client):
            pass


def taken(number: int, kind: Kind, ts_ms: int, sequence: int, campaign_id: str = "c1") -> dict[str, Any]:
    """A decision about an event of ts_ms."""
    given: dict[str, Any] = msgspec.json.decode(decision(number, kind))
    return given | {"ts_ms": ts_ms, "effective_ms": ts_ms, "sequence": sequence, "campaign_id": campaign_id}


def test_a_pause_by_a_late_event_is_newer_than_the_resume_before_it(database: Database) -> None:
    # The resume was caused by the clock, the pause afterwards by an event that happened five minutes earlier.
    store(database, [taken(1, Kind.RESUME, NOW_MS, 10), taken(2, Kind.PAUSE, NOW_MS - 300_000, 11)])
    rows = KpiReader(database.url).decisions("acme", "c1", 0, NOW_MS + 1, 10)
    assert [(row["kind"], row["sequence"]) for row in rows] == [("pause", 11), ("resume", 10)]
    assert database.rows("SELECT state, state_reason FROM campaign_state") == [("paused", "daily_budget_reached")]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from([Kind.PAUSE, Kind.RESUME]), st.integers(-600_000, 600_000), st.integers(0, 2_000)),
        min_size=1,
        max_size=20,
    ),
    run=st.uuids(),
)
def test_the_state_of_a_campaign_is_the_last_word_whatever_the_times(
    database: Database, steps: list[tuple[Kind, int, int]], run: Any
) -> None:
    campaign_id, sequence, now_ms = str(run), 0, NOW_MS
    decisions = []
    for number, (kind, lateness_ms, passed_ms) in enumerate(steps):
        now_ms += passed_ms
        sequence = next_sequence(sequence, now_ms)
        decisions.append(taken(number, kind, now_ms - lateness_ms, sequence, campaign_id))
    store(database, decisions)
    expected = "paused" if steps[-1][0] is Kind.PAUSE else "active"
    found = database.rows("SELECT state FROM campaign_state WHERE campaign_id = {c:String}", c=campaign_id)
    assert found == [(expected,)]
    newest = KpiReader(database.url).decisions("acme", campaign_id, 0, NOW_MS * 2, 100)
    assert [row["sequence"] for row in newest] == sorted((d["sequence"] for d in decisions), reverse=True)


def test_decisions_from_before_there_were_sequences_stand_by_their_time(database: Database) -> None:
    store(
        database,
        [
            taken(1, Kind.PAUSE, NOW_MS, 0, "old"),
            taken(2, Kind.RESUME, NOW_MS + 5_000, 0, "old"),
            taken(3, Kind.PAUSE, NOW_MS - 1_000, next_sequence(0, NOW_MS + 9_000), "old"),
        ],
    )
    rows = KpiReader(database.url).decisions("acme", "old", 0, NOW_MS * 2, 10)
    assert [row["decision_id"] for row in rows] == ["d3", "d2", "d1"]
