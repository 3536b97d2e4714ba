"""What serves a campaign outlasts decisions, restarts, and a log that is put back; dates need no record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from api.serving import MemoryServing as ApiServing
from schemas import topics
from schemas.log import Log
from schemas.serving import Serving, encode_serving
from storage.serving import KEY, POSITION_KEY, MemoryServing, RedisServing, ServingStore
from storage.store.serving_feed import LOOK_EVERY_MS, ServingFeed
from tests.support.memory_log import MemoryLog

# Monday, 2026-03-02 00:00 UTC
NOW_MS = 1_772_409_600_000
HOUR_MS = 3_600_000


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[ServingStore]:
    if request.param == "memory":
        yield MemoryServing()
        return
    serving = RedisServing(request.getfixturevalue("redis_url"))
    serving._redis.flushdb()
    yield serving
    serving.close()


def word(seq: int = 1, **given: Any) -> bytes:
    return encode_serving(Serving(**({"org_id": "acme", "campaign_id": "c1", "seq": seq} | given)))


PAUSED = {"paused": True, "pause_reason": "total_budget_reached"}


def log_with(*words: bytes) -> MemoryLog:
    log = MemoryLog()
    log.append(topics.SERVING, 0, list(words))
    return log


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


class Feeder:
    """`penstock store`'s feed of serving states; `restart` is a new process."""

    def __init__(self, log: Log, store: ServingStore) -> None:
        self.log, self.store, self.clock = log, store, Clock()
        self.restart()

    def restart(self) -> None:
        self.feed = ServingFeed(self.log, self.store, self.clock)

    def served(self) -> Serving:
        self.clock.now_ms += LOOK_EVERY_MS
        for _ in range(3):
            self.feed.step()
        state = self.store.get("acme", "c1")
        assert state is not None
        return state


@pytest.mark.parametrize(
    ("dates", "reason"),
    [({"end_ms": NOW_MS - HOUR_MS}, "ended"), ({"start_ms": NOW_MS + HOUR_MS}, "not_started")],
    ids=["an end that has passed", "a start to come"],
)
def test_a_pause_by_dates_needs_no_decision(store: ServingStore, dates: dict[str, int], reason: str) -> None:
    served = Feeder(log_with(word(**dates)), store).served()
    assert (served.paused, served.pause_reason) == (True, reason)
    assert (served.start_ms, served.end_ms) == (dates.get("start_ms"), dates.get("end_ms"))


def test_the_end_date_comes_without_any_record(store: ServingStore) -> None:
    log = log_with(word(end_ms=NOW_MS + HOUR_MS))
    feeder = Feeder(log, store)
    assert not feeder.served().paused
    feeder.clock.now_ms = NOW_MS + HOUR_MS
    assert feeder.served().pause_reason == "ended"
    # The clock is set back.
    feeder.clock.now_ms = NOW_MS
    assert not feeder.served().paused
    feeder.clock.now_ms = NOW_MS + HOUR_MS
    assert feeder.served().paused
    log.append(topics.SERVING, 0, [word(2, end_ms=NOW_MS + 9 * HOUR_MS)])
    assert not feeder.served().paused


def test_outside_its_day_parts_a_campaign_takes_part_in_nothing(store: ServingStore) -> None:
    # In Berlin it is one o'clock on Monday.
    feeder = Feeder(log_with(word(time_zone="Europe/Berlin", day_parts=[1])), store)
    assert feeder.served().pacing_rate == 1.0
    feeder.clock.now_ms = NOW_MS + HOUR_MS
    assert feeder.served().pacing_rate == 0.0


def test_a_budget_pause_outlasts_the_decision(store: ServingStore) -> None:
    log = log_with(word(**PAUSED))
    feeder = Feeder(log, store)
    assert feeder.served().paused
    log.append(topics.DECISIONS, 0, [b"{}"])
    log.drop_before(topics.DECISIONS, 0, log.end(topics.DECISIONS, 0))
    feeder.restart()
    assert feeder.served().pause_reason == "total_budget_reached"
    log.append(topics.SERVING, 0, [word(2)])
    assert not feeder.served().paused


def test_a_new_log_is_not_ignored_for_its_low_numbers(store: ServingStore) -> None:
    assert Feeder(log_with(word(50, **PAUSED)), store).served().paused
    served = Feeder(log_with(word(3, currency="JPY")), store).served()
    assert (served.paused, served.currency) == (False, "JPY")


def test_a_new_log_forgets_campaigns_of_the_old_one(store: ServingStore) -> None:
    Feeder(log_with(word()), store).served()
    Feeder(MemoryLog(), store).feed.step()
    assert store.get("acme", "c1") is None


def test_states_of_a_longer_log_are_forgotten(store: ServingStore) -> None:
    # An older copy of the log was put back: same identity, fewer records.
    log = log_with(word())
    shorter = log.end(topics.SERVING, 0)
    log.append(topics.SERVING, 0, [word(5, **PAUSED)])
    feeder = Feeder(log, store)
    assert feeder.served().paused
    del log._bytes[topics.SERVING, 0][shorter:]
    feeder.restart()
    assert not feeder.served().paused


def test_a_redis_that_lost_its_memory_gets_every_state_again(redis_url: str) -> None:
    serving = RedisServing(redis_url)
    feeder = Feeder(log_with(word(), word(campaign_id="c2")), serving)
    feeder.served()
    serving._redis.flushdb()
    feeder.restart()
    feeder.served()
    assert [state.campaign_id for state in serving.of_organisation("acme")] == ["c1", "c2"]
    assert int(serving._redis.get(POSITION_KEY)) == feeder.log.end(topics.SERVING, 0)
    serving.close()


def test_what_an_earlier_version_kept_in_redis_gives_way(redis_url: str) -> None:
    log, serving = log_with(word(1_772_409_600_000 << 12, bid_micros=9)), RedisServing(redis_url)
    serving._redis.flushdb()
    serving._redis.mset({"penstock:serving-log": log.identity(), "penstock:serving-fold": b"{}"})
    serving._redis.hset("penstock:serving-seq:acme", "c1", 9_000_000_000)
    serving._redis.hset(KEY + "acme", "c1", b'{"org_id":"acme","campaign_id":"c1","seq":9000000000,"bid_micros":1}')
    assert Feeder(log, serving).served().bid_micros == 9
    serving.close()


def test_the_api_holds_dates_against_the_clock_whenever_it_is_asked() -> None:
    clock = Clock()
    api, log = ApiServing(now_ms=clock), log_with(word(end_ms=NOW_MS + HOUR_MS))
    chunk = log.read(topics.SERVING, 0, 0, 1 << 20)
    assert chunk is not None
    api.take(chunk)
    for now_ms, reason in ((NOW_MS, None), (NOW_MS + HOUR_MS, "ended")):
        clock.now_ms = now_ms
        state = api.get("acme", "c1")
        assert state is not None
        assert state.pause_reason == reason
