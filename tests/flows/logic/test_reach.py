"""Estimated distinct actors against the truth."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from flows.logic.campaigns.shard import CampaignShard
from flows.logic.output.live_rows import live_rows
from flows.logic.step import Step
from schemas.batch import EventBatch
from schemas.kpis import KpiBatch
from tests.flows.logic.stream import Ev, batch_of, definition

T0 = 1_790_000_000_000
LARGE_ERROR, SMALL_ERROR = 0.0325, 0.065
# So that no two calls make the same events.
_calls = itertools.count(1)


def impressions(actors: np.ndarray, creative: str = "x", ts_ms: int = T0) -> EventBatch:
    """One impression an actor, all of one series and at one time."""
    one, n = batch_of([(0, Ev(1, ts_ms, "a", creative))]), len(actors)
    ids = np.random.default_rng(next(_calls)).integers(1, 2**63, n).astype(np.uint64)
    return replace(one.take(np.zeros(n, np.intp)), position=np.arange(n), event_hash=ids, actor=actors)


def shard_of(batches: list[EventBatch], now_ms: int = T0) -> CampaignShard:
    shard = CampaignShard(0, 1, 1)
    for k, batch in enumerate(batches):
        shard.step(Step(0, k, k + 1, now_ms, 40 * k, batch=batch))
    return shard


def reach_of(batches: list[KpiBatch], level: str, window: str) -> int:
    """The reach last reported for the only window of the level."""
    return [
        reach
        for batch in (packed.columns() for packed in batches)
        for reach, one_level, one_window in zip(batch.reach, batch.level, batch.window, strict=True)
        if (one_level, one_window) == (level, window)
    ][-1]


def people(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 2**63, count).astype(np.uint64)


@pytest.mark.parametrize("count", [1, 3, 20, 150, 1_000, 5_000])
@pytest.mark.parametrize(
    ("level", "window", "standard_error"),
    [
        pytest.param("campaign", "day", LARGE_ERROR, id="campaign hours and days have 1,024 registers"),
        pytest.param("series", "day", SMALL_ERROR, id="series have 256 registers"),
    ],
)
def test_the_error_is_that_of_the_number_of_registers(
    count: int, level: str, window: str, standard_error: float
) -> None:
    errors = []
    for seed in range(16):
        actors = people(count, seed)
        # Everybody sees two, so that the number of impressions does not bound the estimate.
        kpis = shard_of([impressions(part) for part in (*np.array_split(actors, 3), actors)]).drain().kpis
        errors.append(reach_of(kpis, level, window) / count - 1)
    # The mean of 16 runs is within 3.5 of its own standard errors, and no run is far out.
    assert abs(np.mean(errors)) < 3.5 * standard_error / 16**0.5 + 0.5 / count
    assert np.max(np.abs(errors)) < 4 * standard_error + 1 / count


def test_meeting_the_same_people_again_changes_nothing() -> None:
    actors = people(700, 1)
    # Twice at first: the number of impressions bounds what is shown.
    once = shard_of([impressions(actors), impressions(actors)]).drain().kpis
    twice = shard_of([impressions(actors), impressions(actors), impressions(actors[::-1])]).drain().kpis
    for level in ("campaign", "series"):
        for window in ("10s", "1m", "1h", "day"):
            assert reach_of(once, level, window) == reach_of(twice, level, window)


@pytest.mark.parametrize("window", ["10s", "1m", "1h", "day"])
@pytest.mark.parametrize(("first", "second"), [(5, 5), (5, 60), (60, 700), (700, 60), (700, 700)])
def test_a_campaign_reaches_the_people_of_its_series_once_each(first: int, second: int, window: str) -> None:
    one, two = people(first, 1), np.concatenate([people(second, 2), people(first, 1)[: first // 2]])
    apart = shard_of([impressions(one, "x"), impressions(two, "y"), impressions(one, "y")]).drain().kpis
    together = shard_of([impressions(np.concatenate([one, two]), "z")]).drain().kpis
    assert reach_of(apart, "campaign", window) == reach_of(together, "campaign", window)


def test_an_event_without_an_actor_reaches_nobody() -> None:
    assert reach_of(shard_of([impressions(np.zeros(9, np.uint64))]).drain().kpis, "campaign", "10s") == 0


def test_rolling_reach_counts_a_returning_person_once() -> None:
    actors = people(40, 3)
    shard = CampaignShard(0, 1, 1)
    for k in range(6):
        batch = impressions(actors, ts_ms=T0 + 10_000 * k)
        [row] = shard.step(Step(0, k, k + 1, T0 + 60_000, 40 * k + 40, batch=batch)).live
    assert row.rolling["1m"].impressions == 240
    assert row.rolling["1m"].reach == pytest.approx(40, abs=6)
    assert row.rolling["24h"].reach == row.total.reach == pytest.approx(40, abs=3)


def test_a_day_that_begins_inside_an_hour_counts_its_own_people() -> None:
    # 18:30 UTC is midnight in India: the hour from 18:00 holds people of both days.
    midnight_ms = 1_790_015_400_000
    shard = CampaignShard(0, 1, 1)
    shard.step(Step(0, 0, 0, midnight_ms, 0, tick=True, control=[definition(time_zone="Asia/Kolkata")]))
    for ts_ms in (midnight_ms - 60_000, midnight_ms + 60_000):
        shard.step(Step(0, 0, 1, midnight_ms + 60_000, 0, batch=impressions(people(50, 1), ts_ms=ts_ms)))
    kpis = shard.drain().kpis
    days = [
        (start, reach)
        for batch in (packed.columns() for packed in kpis)
        for start, reach, level, window in zip(
            batch.window_start_ms, batch.reach, batch.level, batch.window, strict=True
        )
        if (level, window) == ("campaign", "day")
    ]
    assert {start for start, _ in days} == {midnight_ms - 86_400_000, midnight_ms}
    assert all(abs(reach - 50) < 8 for _, reach in days)


def test_memory_of_closed_windows_is_used_again() -> None:
    shard, ends = CampaignShard(0, 1, 1), []
    for hour in range(40):
        ts_ms = T0 + 3_600_000 * hour
        shard.step(Step(0, 0, 1, ts_ms, 0, batch=impressions(people(900, hour), ts_ms=ts_ms)))
        shard.step(Step(0, 1, 1, ts_ms, 0, tick=True))
        ends.append(int(shard.arrays.header["blocks_end"]))
    # An hour takes more than 64 blocks; after a day only the odd one comes on top.
    assert ends[-1] <= ends[26] + 200


@pytest.mark.parametrize("seed", range(12))
def test_reach_is_never_above_impressions_in_windows_rolling_windows_and_live_rows(seed: int) -> None:
    actors = people(1_310, seed)
    shard = shard_of([impressions(part) for part in np.array_split(actors, 5)])
    for batch in shard.drain().kpis:
        columns = batch.columns()
        assert all(reach <= seen for reach, seen in zip(columns.reach, columns.impressions, strict=True))
    [row] = live_rows(shard.arrays, shard.registry, shard.ledger, np.array([0]), 0)
    for counters in (row.today, row.total, *row.rolling.values(), *(counted for _, counted in row.windows)):
        assert counters.reach <= counters.impressions
