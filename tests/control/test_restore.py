"""A new control database takes over what the log says."""

from __future__ import annotations

from pathlib import Path

from control.restore import restore
from control.store import Action, ControlStore, Word
from schemas import topics
from schemas.campaigns import Campaign
from schemas.control import decode_control
from tests.support.memory_log import MemoryLog


def shoes(budget: int) -> Campaign:
    fields = {"campaign_id": "shoes", "name": "Shoes", "currency": "EUR", "daily_budget_micros": budget}
    return Campaign.model_validate(fields)


def filled_log(store: ControlStore) -> MemoryLog:
    log = MemoryLog()
    for budget in (5, 6, 7):
        store.put_campaign(shoes(budget), changed_by="ana", now_ms=budget)
    store.override("default", "shoes", Action.PAUSE, changed_by="ana", now_ms=8)
    store.override("default", "shoes", Action.SET_BID, changed_by="ana", now_ms=9, bid_micros=4)
    store.say("default", "shoes", "d1", Word.APPROVE, changed_by="ana", now_ms=10)
    store.publish_outbox(log)
    log.append(topics.CONTROL, 0, [b"no record"])
    return log


def test_versions_go_on_where_the_lost_database_left_off(store: ControlStore, tmp_path: Path) -> None:
    log = filled_log(store)
    fresh = ControlStore.open("", tmp_path / "fresh")
    assert restore(fresh.engine, log) == 1
    assert fresh.campaign("default", "shoes") == store.campaign("default", "shoes")
    assert fresh.put_campaign(shoes(8), changed_by="ben", now_ms=11) == 4
    assert fresh.override("default", "shoes", Action.LIFT, changed_by="ben", now_ms=12) == 3
    assert fresh.say("default", "shoes", "d1", Word.UNDO, changed_by="ben", now_ms=13) == 2
    assert [change.version for change in fresh.changes("default", "shoes")] == [3, 4]
    before = len(log.records(topics.CONTROL))
    fresh.publish_outbox(log)
    assert [decode_control(record).version for record in log.records(topics.CONTROL)[before:]] == [4, 3, 2]
    fresh.close()


def test_a_database_with_campaigns_is_left_alone(store: ControlStore, tmp_path: Path) -> None:
    log = filled_log(store)
    own = ControlStore.open("", tmp_path / "own")
    own.put_campaign(shoes(1), changed_by="ana", now_ms=1)
    assert restore(own.engine, log) == 0
    assert own.campaign("default", "shoes").version == 1
    own.close()


def test_an_empty_log_restores_nothing(store: ControlStore) -> None:
    assert restore(store.engine, MemoryLog()) == 0
    assert store.campaigns("default") == []
