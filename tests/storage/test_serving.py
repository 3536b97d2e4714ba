"""Serving state: one contract for Redis and for memory, and the feed that fills both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from schemas import topics
from schemas.serving import Serving, encode_serving
from storage.serving import KEY, MemoryServing, RedisServing, ServingStore
from storage.store.serving_feed import ServingFeed
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
    listening.get_message(timeout=30)
    serving.put([state("c1", 2)])
    serving.put([state("c1", 1), state("c2", 1)])
    assert [listening.get_message(timeout=30)["data"] for _ in range(2)] == [b"c1", b"c2"]
    listening.close()
    serving.close()


class Feed:
    """A log and what follows from it."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.store = MemoryServing()
        self.feed = ServingFeed(self.log, self.store)

    def take(self, *words: Serving) -> Serving:
        self.log.append(topics.SERVING, 0, [encode_serving(word) for word in words])
        self.feed.step()
        read = self.store.get("acme", "c1")
        assert read is not None
        return read


def test_what_is_written_is_the_newest_word() -> None:
    feed = Feed()
    paused = state("c1", 4, paused=True, pause_reason="daily_budget_reached", modifiers={"device=mobile": 1.5})
    assert feed.take(state("c1", 3), paused, state("c2", 9)) == paused
    assert feed.take(state("c1", 5)) == state("c1", 5)


def test_words_that_are_written_again_after_a_crash_change_nothing() -> None:
    feed = Feed()
    newest = feed.take(state("c1", 4), state("c1", 5, bid_micros=7))
    assert feed.take(state("c1", 4)) == newest
    assert feed.take(state("c1", 4), state("c1", 5, bid_micros=7)) == newest


def test_what_changed_while_the_feed_was_down_is_written_when_it_is_back() -> None:
    feed = Feed()
    feed.take(state("c1", 4))
    feed.log.append(topics.SERVING, 0, [encode_serving(state("c1", 8, paused=True))])
    feed.feed = ServingFeed(feed.log, feed.store)
    assert feed.take().paused


def test_a_topic_that_was_compacted_under_the_feed_is_read_on() -> None:
    feed = Feed()
    feed.take(state("c1", 4))
    feed.log.append(topics.SERVING, 0, [encode_serving(state("c1", 5))])
    feed.log.drop_before(topics.SERVING, 0, feed.log.end(topics.SERVING, 0))
    feed.take(state("c1", 6, bid_micros=9))
    assert feed.take().bid_micros == 9


def test_a_record_that_is_none_is_left_out() -> None:
    feed = Feed()
    feed.log.append(topics.SERVING, 0, [b"{}", b"[", b'{"key":"acme/c1"}'])
    assert feed.take(state("c1", 1, currency="EUR")).currency == "EUR"


def test_states_are_json_for_bidders_of_any_language(redis_url: str) -> None:
    serving = RedisServing(redis_url)
    serving._redis.flushdb()
    serving.put([state("c1", 2, bid_micros=5)])
    # Every field is there: a bidder that asks for `paused` needs no defaults of ours.
    assert msgspec.json.decode(serving._redis.hget("penstock:serving:acme", "c1")) == {
        "org_id": "acme", "campaign_id": "c1", "seq": 2, "paused": False, "pause_reason": None, "bid_micros": 5,
        "pacing_rate": 1.0, "modifiers": {}, "currency": "USD", "spendable_micros": None, "start_ms": None,
        "end_ms": None, "day_parts": None, "time_zone": "UTC", "decided_ms": 0, "decision_id": None,
        "version": 0, "override_version": 0,
    }  # fmt: skip
    serving.close()
