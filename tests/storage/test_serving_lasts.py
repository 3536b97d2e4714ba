"""What serves a campaign outlasts the decisions that say so: retention, restarts, another log, records sent again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from api import serving_file
from api.serving import MemoryServing as ApiServing
from schemas import topics
from schemas.decisions import Kind, Reason, encode_decision
from schemas.log import Log
from schemas.serving import Serving
from storage.serving import MemoryServing, RedisServing, ServingStore
from storage.store.serving_feed import KEEP_EVERY_MS, ServingFeed
from tests.storage.test_serving import campaign, override
from tests.support.decisions import decision_of
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


def decided(kind: Kind, sequence: int, reason: Reason = Reason.TOTAL_BUDGET_REACHED, **given: object) -> bytes:
    return encode_decision(
        msgspec.structs.replace(
            decision_of(
                decision_id=f"d{sequence}", org_id="acme", campaign_id="c1", kind=kind.value, reason=reason.value,
                ts_ms=NOW_MS, effective_ms=NOW_MS, before={}, after={}, inputs={}, policy="p", sequence=sequence,
            ),
            **given,
        )
    )  # fmt: skip


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
        self.clock.now_ms += KEEP_EVERY_MS
        for _ in range(3):
            self.feed.step()
        state = self.store.get("acme", "c1")
        assert state is not None
        return state


def expire_decisions(log: MemoryLog) -> None:
    log.drop_before(topics.DECISIONS, 0, log.end(topics.DECISIONS, 0))


@pytest.mark.parametrize(
    ("dates", "reason"),
    [({"end_ms": NOW_MS - HOUR_MS}, "ended"), ({"start_ms": NOW_MS + HOUR_MS}, "not_started")],
    ids=["an end that has passed", "a start to come"],
)
def test_a_pause_by_dates_needs_no_decision(store: ServingStore, dates: dict[str, int], reason: str) -> None:
    log = MemoryLog()
    log.append(topics.CONTROL, 0, [campaign(**dates)])
    served = Feeder(log, store).served()
    assert (served.paused, served.pause_reason) == (True, reason)
    assert (served.start_ms, served.end_ms) == (dates.get("start_ms"), dates.get("end_ms"))


def test_the_end_date_comes_without_any_record(store: ServingStore) -> None:
    log = MemoryLog()
    log.append(topics.CONTROL, 0, [campaign(end_ms=NOW_MS + HOUR_MS)])
    feeder = Feeder(log, store)
    assert not feeder.served().paused
    feeder.clock.now_ms = NOW_MS + HOUR_MS
    assert feeder.served().pause_reason == "ended"
    log.append(topics.CONTROL, 0, [campaign(version=2, end_ms=NOW_MS + 9 * HOUR_MS)])
    assert not feeder.served().paused


@pytest.mark.parametrize(("mode", "rate"), [("auto", 0.0), ("dry_run", 1.0)])
def test_outside_its_day_parts_a_campaign_takes_part_in_nothing(store: ServingStore, mode: str, rate: float) -> None:
    log = MemoryLog()
    bidding = {"strategy": "manual", "bid_micros": 5, "day_parts": [1], "mode": mode}
    # In Berlin it is one o'clock on Monday.
    log.append(topics.CONTROL, 0, [campaign(time_zone="Europe/Berlin", bidding=bidding)])
    feeder = Feeder(log, store)
    assert feeder.served().pacing_rate == 1.0
    feeder.clock.now_ms = NOW_MS + HOUR_MS
    assert feeder.served().pacing_rate == rate


def test_a_budget_pause_outlasts_the_decision(store: ServingStore) -> None:
    log = MemoryLog()
    log.append(topics.CONTROL, 0, [campaign()])
    log.append(topics.DECISIONS, 0, [decided(Kind.PAUSE, 5)])
    feeder = Feeder(log, store)
    assert feeder.served().paused
    expire_decisions(log)
    # Another campaign's: the topic goes on.
    log.append(topics.DECISIONS, 0, [decided(Kind.PAUSE, 5, campaign_id="c2")])
    feeder.restart()
    served = feeder.served()
    assert (served.paused, served.pause_reason) == (True, "total_budget_reached")
    log.append(topics.DECISIONS, 0, [decided(Kind.RESUME, 6, Reason.BUDGET_RAISED)])
    assert not feeder.served().paused


def test_a_new_log_is_not_ignored_for_its_low_numbers(store: ServingStore) -> None:
    old = MemoryLog()
    old.append(topics.CONTROL, 0, [campaign(name="x" * 150)] * 20)
    old.append(topics.DECISIONS, 0, [decided(Kind.PAUSE, 5)])
    assert Feeder(old, store).served().paused
    new = MemoryLog()
    new.append(topics.CONTROL, 0, [campaign(currency="JPY")])
    served = Feeder(new, store).served()
    assert (served.paused, served.currency) == (False, "JPY")


def test_a_new_log_forgets_campaigns_of_the_old_one(store: ServingStore) -> None:
    old = MemoryLog()
    old.append(topics.CONTROL, 0, [campaign()])
    Feeder(old, store).served()
    Feeder(MemoryLog(), store).feed.step()
    assert store.get("acme", "c1") is None


def test_what_was_kept_of_a_longer_log_is_not_taken(store: ServingStore) -> None:
    # An older copy of the log was put back: same identity, fewer records.
    log = MemoryLog()
    log.append(topics.CONTROL, 0, [campaign()])
    shorter = log.end(topics.DECISIONS, 0)
    log.append(topics.DECISIONS, 0, [decided(Kind.PAUSE, 5)])
    feeder = Feeder(log, store)
    assert feeder.served().paused
    del log._bytes[topics.DECISIONS, 0][shorter:]
    log.append(topics.CONTROL, 0, [campaign(version=2, name="y" * 1_500)])
    feeder.restart()
    assert not feeder.served().paused


def test_an_older_decision_that_comes_again_changes_nothing(store: ServingStore) -> None:
    log = MemoryLog()
    log.append(topics.CONTROL, 0, [campaign()])
    log.append(topics.DECISIONS, 0, [decided(Kind.PAUSE, 5), decided(Kind.RESUME, 6)])
    feeder = Feeder(log, store)
    assert not feeder.served().paused
    log.append(topics.DECISIONS, 0, [decided(Kind.PAUSE, 5, decision_id="another id")])
    assert not feeder.served().paused


def test_an_older_definition_or_override_that_comes_again_changes_nothing(store: ServingStore) -> None:
    log = MemoryLog()
    first = override("pause")
    lifted = msgspec.json.encode(msgspec.json.decode(override("lift")) | {"version": 2})
    log.append(topics.CONTROL, 0, [campaign(), campaign(version=2, currency="JPY"), first, lifted])
    feeder = Feeder(log, store)
    assert not feeder.served().paused
    log.append(topics.CONTROL, 0, [campaign(), first])
    served = feeder.served()
    assert (served.paused, served.currency) == (False, "JPY")


class Api:
    """What the api holds, fed with all that the log still has."""

    def __init__(self, log: MemoryLog, path: Path) -> None:
        self.clock = Clock()
        self.serving = ApiServing(now_ms=self.clock)
        serving_file.restore(path, self.serving, log)
        for topic in (topics.CONTROL, topics.DECISIONS):
            chunk = log.read(topic, 0, log.begin(topic, 0), 1 << 20)
            if chunk is not None:
                self.serving.take(chunk)

    def served(self) -> Serving:
        state = self.serving.get("acme", "c1")
        assert state is not None
        return state


def test_the_api_keeps_a_budget_pause_over_retention(tmp_path: Path) -> None:
    log, path = MemoryLog(), tmp_path / "serving.json"
    log.append(topics.CONTROL, 0, [campaign()])
    log.append(topics.DECISIONS, 0, [decided(Kind.PAUSE, 5)])
    before = Api(log, path)
    assert before.served().paused
    serving_file.keep(path, before.serving.saved(log.identity()))
    assert path.stat().st_mode & 0o777 == 0o600
    expire_decisions(log)
    assert Api(log, path).served().pause_reason == "total_budget_reached"
    assert not Api(log_with(campaign()), path).served().paused


def log_with(record: bytes) -> MemoryLog:
    log = MemoryLog()
    log.append(topics.CONTROL, 0, [record])
    return log


def test_the_api_holds_dates_against_the_clock_whenever_it_is_asked(tmp_path: Path) -> None:
    api = Api(log_with(campaign(end_ms=NOW_MS + HOUR_MS)), tmp_path / "none")
    assert not api.served().paused
    api.clock.now_ms += HOUR_MS
    assert api.served().pause_reason == "ended"


def test_a_file_that_is_no_state_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "serving.json"
    path.write_text("{half")
    assert not Api(log_with(campaign()), path).served().paused
    assert path.read_text() == "{half"
