"""Changes reach topic control once they are committed, in order, whatever fails in between."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from control.errors import OverrideError, UnknownCampaignError
from control.store import Action, ControlStore, Word
from schemas import topics
from schemas.campaigns import Campaign
from schemas.control import CampaignRecord, ControlRecord, DecisionWordRecord, OverrideRecord, decode_control
from schemas.log import LogUnavailableError
from tests.support.memory_log import MemoryLog


def put(store: ControlStore, budget: int, campaign_id: str = "shoes") -> int:
    fields = {"campaign_id": campaign_id, "name": "Shoes", "currency": "EUR", "daily_budget_micros": budget}
    return store.put_campaign(Campaign.model_validate(fields), changed_by="ana", now_ms=1_000)


def control(log: MemoryLog) -> list[ControlRecord]:
    return [decode_control(record) for record in log.records(topics.CONTROL)]


def versions(log: MemoryLog) -> list[int]:
    return [record.version for record in control(log)]


def test_a_definition_reaches_the_log_with_its_key_and_reads_back(store: ControlStore) -> None:
    log = MemoryLog()
    put(store, 5)
    assert store.publish_outbox(log) == 1
    (record,) = control(log)
    assert isinstance(record, CampaignRecord)
    assert record.definition() == store.campaign("default", "shoes").definition
    assert log.keys[topics.CONTROL] == ["campaign/default/shoes"] == [record.key]


def test_what_was_published_is_not_published_again(store: ControlStore) -> None:
    log = MemoryLog()
    put(store, 5)
    assert [store.publish_outbox(log), store.publish_outbox(log)] == [1, 0]


def test_an_unchanged_definition_publishes_nothing(store: ControlStore) -> None:
    log = MemoryLog()
    put(store, 5)
    put(store, 5)
    assert store.publish_outbox(log) == 1


def test_changes_made_while_the_log_is_away_are_published_later_in_order(store: ControlStore) -> None:
    log = MemoryLog()
    log.down = True
    for budget in (5, 6, 7):
        put(store, budget)
    with pytest.raises(LogUnavailableError):
        store.publish_outbox(log)
    log.down = False
    store.publish_outbox(log)
    assert versions(log) == [1, 2, 3]


class _DiesAfterAppend(MemoryLog):
    """Appends, and then the process is gone before it can mark anything."""

    def append(self, topic: str, partition: int, records: Sequence[bytes], *, keys: Sequence[str] | None = None) -> int:
        super().append(topic, partition, records, keys=keys)
        raise KeyboardInterrupt


def test_a_crash_between_append_and_mark_repeats_records_and_loses_none(store: ControlStore) -> None:
    log = _DiesAfterAppend()
    put(store, 5)
    with pytest.raises(KeyboardInterrupt):
        store.publish_outbox(log)
    put(store, 6)
    after = MemoryLog()
    store.publish_outbox(after)
    assert versions(log) + versions(after) == [1, 1, 2]


def test_publishers_side_by_side_keep_the_order_of_a_campaigns_versions(store: ControlStore) -> None:
    log = MemoryLog()
    done = threading.Event()

    def publish() -> None:
        own = ControlStore.open(str(store.engine.url), None)  # type: ignore[arg-type]
        while not done.is_set():
            own.publish_outbox(log)
        own.close()

    publishers = [threading.Thread(target=publish) for _ in range(3)]
    for thread in publishers:
        thread.start()
    for budget in range(1, 41):
        put(store, budget)
    done.set()
    for thread in publishers:
        thread.join()
    store.publish_outbox(log)
    assert versions(log) == list(range(1, 41))


def test_a_bid_override_does_not_push_out_a_pause(store: ControlStore) -> None:
    log = MemoryLog()
    put(store, 5)
    store.override("default", "shoes", Action.PAUSE, changed_by="ana", now_ms=1, note="stock is empty")
    store.override("default", "shoes", Action.SET_BID, changed_by="ana", now_ms=2, bid_micros=900_000)
    store.publish_outbox(log)
    records = [record for record in control(log) if isinstance(record, OverrideRecord)]
    assert [(r.version, r.action, r.bid_micros, r.note) for r in records] == [
        (1, "pause", None, "stock is empty"),
        (2, "set_bid", 900_000, ""),
    ]
    assert len({record.key for record in records}) == 2
    assert [given.action for given in store.overrides("default", "shoes")] == ["pause", "set_bid"]


@pytest.mark.parametrize(
    ("action", "bid_micros"),
    [(Action.SET_BID, None), (Action.SET_BID, 0), (Action.PAUSE, 5)],
    ids=["set_bid_needs_a_bid", "a_bid_is_above_zero", "pause_takes_no_bid"],
)
def test_an_override_that_makes_no_sense_is_refused(
    store: ControlStore, action: Action, bid_micros: int | None
) -> None:
    put(store, 5)
    with pytest.raises(OverrideError):
        store.override("default", "shoes", action, changed_by="ana", now_ms=1, bid_micros=bid_micros)


def test_an_override_of_an_unknown_campaign_is_refused(store: ControlStore) -> None:
    with pytest.raises(UnknownCampaignError):
        store.override("default", "hats", Action.PAUSE, changed_by="ana", now_ms=1)


def test_a_word_on_a_decision_is_published_and_repeating_it_changes_nothing(store: ControlStore) -> None:
    log = MemoryLog()
    said = [
        store.say("default", "shoes", "d1", word, changed_by="ana", now_ms=1)
        for word in (Word.APPROVE, Word.APPROVE, Word.UNDO)
    ]
    store.publish_outbox(log)
    records = [record for record in control(log) if isinstance(record, DecisionWordRecord)]
    assert said == [1, 1, 2]
    assert [(record.version, record.word, record.decision_id) for record in records] == [
        (1, "approve", "d1"),
        (2, "undo", "d1"),
    ]
