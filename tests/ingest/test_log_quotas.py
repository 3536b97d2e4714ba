"""Each topic has a quota of its own, and how far the log reaches back is computed from what is on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.local_log import LocalLog
from ingest.local_log.quotas import SHARES, quotas_of
from schemas.topics import ALL, CONTROL, DEAD_LETTERS, EVENTS, KPIS, LIVE, SERVING

HOUR_MS = 3_600_000


class Clock:
    now_ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now_ms


def log_at(root: Path, clock: Clock, quotas: dict[str, int], **options: int) -> LocalLog:
    return LocalLog(
        root, partitions=1, segment_bytes=10_000, fsync=False, compress=False, quotas=quotas, now_ms=clock, **options
    )


def line(number: int) -> bytes:
    return b'{"type":"impression","campaign_id":"cmp-%d","user_id":"u%d"}' % (number % 7, number * 7_919 % 100_003)


def test_a_flood_of_one_topic_pushes_nothing_out_of_another(tmp_path: Path) -> None:
    log = log_at(tmp_path, Clock(), {EVENTS: 50_000, DEAD_LETTERS: 30_000})
    for number in range(20):
        log.append(EVENTS, 0, [line(number)] * 20)
    for _ in range(500):
        log.append(DEAD_LETTERS, 0, [b"x" * 999])
    log.enforce_retention(0)
    assert log.begin(EVENTS, 0) == 0
    assert 20_000 < log.end(DEAD_LETTERS, 0) - log.begin(DEAD_LETTERS, 0) < 50_000


def test_a_quota_counts_what_is_on_disk_so_compressed_segments_reach_further_back(tmp_path: Path) -> None:
    held = []
    for compressed in (False, True):
        log = log_at(tmp_path / str(compressed), Clock(), {EVENTS: 60_000})
        for number in range(0, 10_000, 20):
            log.append(EVENTS, 0, [line(number + place) for place in range(20)])
            if compressed and number % 500 == 0:
                log.compress()
        held.append(log.end(EVENTS, 0) - log.begin(EVENTS, 0))
    assert held[1] > 2 * held[0]


def test_every_bounded_topic_has_a_share_and_the_shares_are_the_whole() -> None:
    assert sum(SHARES.values()) == 100
    assert set(SHARES) == set(ALL) - {CONTROL, LIVE, SERVING}
    assert quotas_of(1_000, {KPIS: 5})[KPIS] == 5
    with pytest.raises(ValueError, match="PENSTOCK_LOG_QUOTAS names nosuch"):
        quotas_of(1_000, {"nosuch": 1})


@pytest.mark.parametrize("compressed", [False, True])
def test_the_horizon_is_the_quota_by_the_compressed_rate_of_the_last_hour(tmp_path: Path, compressed: bool) -> None:
    clock = Clock()
    log = log_at(tmp_path, clock, {EVENTS: 1_000_000})
    batch = [line(number) for number in range(20)]
    size = sum(map(len, batch)) + 20
    for minute in range(180):
        # An hour of silence, then a batch a minute, then two.
        clock.now_ms += 60_000
        for _ in range(0 if minute < 60 else 1 if minute < 120 else 2):
            log.append(EVENTS, 0, batch)
    if compressed:
        log.compress()
    (found,) = log.horizons(clock.now_ms)
    assert found.line_bytes_per_s == pytest.approx(2 * size / 60, rel=0.05)
    ratio = found.disk_bytes_per_s / found.line_bytes_per_s
    assert 0.01 < ratio < 0.6
    assert found.reach_s == pytest.approx(1_000_000 / found.disk_bytes_per_s)


def test_the_horizon_is_never_beyond_the_age_at_which_segments_go(tmp_path: Path) -> None:
    clock = Clock()
    log = log_at(tmp_path, clock, {EVENTS: 10**12}, retention_ms=168 * HOUR_MS)
    log.append(EVENTS, 0, [line(1)])
    clock.now_ms += HOUR_MS
    log.append(EVENTS, 0, [line(2)])
    (found,) = log.horizons(clock.now_ms)
    assert found.reach_s == 168 * 3_600


def test_an_empty_log_has_no_horizon(tmp_path: Path) -> None:
    log = log_at(tmp_path, Clock(), {EVENTS: 1_000})
    assert log.end(EVENTS, 0) == 0
    (found,) = log.horizons(Clock.now_ms)
    assert (found.reach_s, found.disk_bytes) == (None, 0)
