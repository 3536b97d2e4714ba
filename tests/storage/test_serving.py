"""Serving state: one contract for Redis and for memory, and the fold that makes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from schemas import topics
from schemas.control import CampaignRecord, OverrideRecord, encode_control
from schemas.decisions import Kind, Reason, encode_decision
from schemas.kpis import Counters
from schemas.live import BudgetState, CampaignLive, LiveFrame, encode_live
from schemas.serving import Serving
from storage.serving import KEY, MemoryServing, RedisServing, ServingStore
from storage.store.serving_feed import ServingFeed
from tests.support.decisions import decision_of
from tests.support.memory_log import MemoryLog


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[ServingStore]:
    if request.param == "memory":
        yield MemoryServing()
        return
    serving = RedisServing(request.getfixturevalue("redis_url"))
    serving._redis.flushdb()
    yield serving
    serving.close()


def state(campaign_id: str, seq: int, **given: Any) -> Serving:
    return Serving(org_id="acme", campaign_id=campaign_id, seq=seq, **given)


def test_what_is_written_is_read(store: ServingStore) -> None:
    written = state("c1", 4, paused=True, bid_micros=7, modifiers={"device=mobile": 1.25}, spendable_micros=0)
    assert store.put([written]) == 1
    assert store.get("acme", "c1") == written
    assert store.get("acme", "other") is None
    assert store.get("other", "c1") is None


@pytest.mark.parametrize(
    ("seq", "bid"), [(3, 1), (4, 2), (5, 2)], ids=["a lower one not", "an equal one", "a higher one"]
)
def test_a_state_is_replaced_by(store: ServingStore, seq: int, bid: int) -> None:
    store.put([state("c1", 4, bid_micros=1)])
    assert store.put([state("c1", seq, bid_micros=2)]) == (bid == 2)
    read = store.get("acme", "c1")
    assert read is not None
    assert read.bid_micros == bid


def test_sequence_numbers_are_numbers_and_not_texts(store: ServingStore) -> None:
    store.put([state("c1", 9)])
    assert store.put([state("c1", 10**15)]) == 1
    assert store.put([state("c1", 10**15 - 1)]) == 0


def test_an_organisation_sees_its_campaigns_in_order(store: ServingStore) -> None:
    store.put([state("b", 1), state("a", 1), Serving(org_id="other", campaign_id="z")])
    assert [one.campaign_id for one in store.of_organisation("acme")] == ["a", "b"]
    assert store.of_organisation("nobody") == []


def test_many_states_are_written_at_once(store: ServingStore) -> None:
    assert store.put([state(f"c{n}", n) for n in range(1_200)]) == 1_200
    assert len(store.of_organisation("acme")) == 1_200


def test_a_change_is_published_in_redis(redis_url: str) -> None:
    serving = RedisServing(redis_url)
    serving._redis.flushdb()
    listening = serving._redis.pubsub(ignore_subscribe_messages=True)
    listening.subscribe(KEY + "acme")
    listening.get_message(timeout=5)
    serving.put([state("c1", 2)])
    serving.put([state("c1", 1), state("c2", 1)])
    assert [listening.get_message(timeout=5)["data"] for _ in range(2)] == [b"c1", b"c2"]
    listening.close()
    serving.close()


def campaign(version: int = 1, **given: Any) -> bytes:
    definition = {"campaign_id": "c1", "org_id": "acme", "name": "C", "currency": "EUR"} | given
    return encode_control(
        CampaignRecord(
            key="acme/c1", org_id="acme", campaign_id="c1", version=version, changed_by="me", changed_ms=0,
            campaign=definition,
        )
    )  # fmt: skip


def override(action: str) -> bytes:
    return encode_control(
        OverrideRecord(
            key="o", org_id="acme", campaign_id="c1", version=1, changed_by="me", changed_ms=0, action=action
        )
    )


def decision(number: int, kind: Kind, **given: Any) -> bytes:
    return encode_decision(
        decision_of(
            decision_id=f"d{number}", org_id="acme", campaign_id="c1", kind=kind.value,
            reason=Reason.DAILY_BUDGET_REACHED.value, ts_ms=number, effective_ms=number, before={}, policy="p",
            inputs={}, **({"after": {}} | given),
        )
    )  # fmt: skip


class Feed:
    """A log and what follows from it."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.store = MemoryServing()
        self.feed: ServingFeed | None = None

    def take(self, *, control: list[bytes] | None = None, decisions: list[bytes] | None = None) -> Serving:
        self.log.append(topics.CONTROL, 0, control or [])
        self.log.append(topics.DECISIONS, 0, decisions or [])
        self.feed = self.feed or ServingFeed(self.log, self.store)
        for _ in range(2):
            self.feed.step()
        read = self.store.get("acme", "c1")
        assert read is not None
        return read


def test_a_pause_holds_until_it_is_resumed() -> None:
    feed = Feed()
    paused = feed.take(control=[campaign()], decisions=[decision(1, Kind.PAUSE)])
    assert (paused.paused, paused.pause_reason, paused.currency) == (True, "daily_budget_reached", "EUR")
    assert not feed.take(decisions=[decision(2, Kind.RESUME)]).paused


def test_a_persons_pause_stands_beside_the_decided_one() -> None:
    feed = Feed()
    assert feed.take(control=[campaign(), override("pause")], decisions=[decision(1, Kind.RESUME)]).paused
    assert not feed.take(control=[override("lift")]).paused


def test_bids_pacing_and_modifiers_follow_the_decisions() -> None:
    feed = Feed()
    given = [
        decision(1, Kind.SET_BID, after={"bid_micros": 5}),
        decision(2, Kind.SET_PACING, after={"pacing_rate": 0.25}),
        decision(3, Kind.SET_BID_MODIFIERS, after={"modifiers": {"device=mobile": 1.5}}),
        decision(4, Kind.SET_BID, after={"bid_micros": 9}, mode="dry_run"),
    ]
    read = feed.take(control=[campaign()], decisions=given)
    assert (read.bid_micros, read.pacing_rate, read.modifiers) == (5, 0.25, {"device=mobile": 1.5})
    assert read.decision_id == "d3"


def test_a_decision_that_is_written_again_does_not_act_again() -> None:
    feed = Feed()
    feed.take(decisions=[decision(1, Kind.PAUSE), decision(2, Kind.RESUME)])
    assert not feed.take(decisions=[decision(1, Kind.PAUSE)]).paused


def test_what_changed_while_the_feed_was_down_is_written_when_it_is_back() -> None:
    feed = Feed()
    feed.take(control=[campaign()], decisions=[decision(n, Kind.SET_BID, after={"bid_micros": n}) for n in range(50)])
    before = feed.take(decisions=[decision(99, Kind.PAUSE)])
    feed.feed = None
    after = feed.take(control=[campaign(version=2, currency="USD")])
    assert (after.currency, after.bid_micros, after.paused) == ("USD", 49, True)
    assert after.seq > before.seq


def live(*left: tuple[int, int, int]) -> bytes:
    """A live row of c1 with budgets of (budget, spent, in flight)."""
    budgets = [
        BudgetState(
            period="day", budget_micros=budget, spent_micros=spent, in_flight_micros=flying, period_start_ms=0,
            period_end_ms=None,
        )
        for budget, spent, flying in left
    ]  # fmt: skip
    row = CampaignLive(
        org_id="acme", campaign_id="c1", name="C", currency="EUR", time_zone="UTC", state="active", state_reason=None,
        version=1, watermark_ms=0, now_ms=0, today=Counters(), total=Counters(), rolling={}, windows=[],
        budgets=budgets,
    )  # fmt: skip
    return encode_live(LiveFrame(now_ms=0, rows=[row]))


@pytest.mark.parametrize(
    ("budgets", "left"),
    [([(100, 60, 15), (1_000, 60, 15)], 25), ([(100, 99, 15)], 0), ([], None)],
    ids=["the tightest budget less what is in flight", "never below zero", "without a budget nothing is said"],
)
def test_what_may_be_spent_follows_the_live_rows(budgets: list[tuple[int, int, int]], left: int | None) -> None:
    feed = Feed()
    feed.take(control=[campaign()])
    feed.log.append(topics.LIVE, 0, [live(*budgets)])
    assert feed.take().spendable_micros == left
    assert feed.take(decisions=[decision(1, Kind.PAUSE)]).spendable_micros == left


def test_a_record_that_is_none_is_left_out() -> None:
    feed = Feed()
    assert feed.take(control=[b"{}", campaign(currency="nope"), campaign()]).currency == "EUR"


def test_states_are_json_for_bidders_of_any_language(redis_url: str) -> None:
    serving = RedisServing(redis_url)
    serving._redis.flushdb()
    serving.put([state("c1", 2, bid_micros=5)])
    # Every field is there: a bidder that asks for `paused` needs no defaults of ours.
    assert msgspec.json.decode(serving._redis.hget("penstock:serving:acme", "c1")) == {
        "org_id": "acme", "campaign_id": "c1", "seq": 2, "paused": False, "pause_reason": None, "bid_micros": 5,
        "pacing_rate": 1.0, "modifiers": {}, "currency": "USD", "spendable_micros": None, "start_ms": None,
        "end_ms": None, "decided_ms": 0,
        "decision_id": None,
    }  # fmt: skip
    serving.close()
