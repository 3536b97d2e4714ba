"""Rate limits: a token bucket in memory and in Redis, by one set of rules."""

from __future__ import annotations

import asyncio

import pytest

from api.auth import ApiKeys
from api.rate_limit import BURST_S, DEBT_S, MemoryRateLimit, RateLimit, RedisRateLimit
from cli.api import _rate_limit
from cli.settings import Settings
from tests.api.conftest import NOW_MS, Apis
from tests.support.ports import free_ports

RATE = 10.0
FULL = round(RATE * BURST_S)


@pytest.fixture(params=["memory", "redis"])
def limit(request: pytest.FixtureRequest) -> RateLimit:
    """An empty limit of each kind; in memory no time passes."""
    if request.param == "memory":
        return MemoryRateLimit(RATE, lambda: 0.0)
    return RedisRateLimit(request.getfixturevalue("redis_url"), RATE)


async def test_a_burst_goes_through_and_what_follows_waits(limit: RateLimit) -> None:
    assert await limit.take("burst", FULL + 1) == 0
    wait_s = await limit.take("burst", 1)
    assert 0 < wait_s <= 2 / RATE


async def test_a_large_request_goes_through_whole_and_is_owed(limit: RateLimit) -> None:
    assert limit.request_max is not None
    assert await limit.take("large", limit.request_max) == 0
    assert DEBT_S - BURST_S - 1 < await limit.take("large", 1) <= DEBT_S - BURST_S + 0.2


def test_a_request_that_would_owe_for_longer_is_refused_and_owes_nothing(apis: Apis) -> None:
    api = apis.start(rate_limit=MemoryRateLimit(1.0, lambda: 0.0))
    body = b'{"event_id":"e1","type":"click","campaign_id":"c","ts":%d}\n' % NOW_MS
    answer = api.post(body * 11, content_type="text/plain")
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:penstock:problem:above_rate")
    assert api.post(body).status_code == 202


async def test_a_flood_is_refused_before_its_bodies_are_read(apis: Apis) -> None:
    api = apis.start(rate_limit=MemoryRateLimit(1.0, lambda: 0.0))
    body = b'{"event_id":"e1","type":"click","campaign_id":"c","ts":%d}\n' % NOW_MS
    api.post(body * 6, content_type="text/plain")
    answer = api.post(b"[", content_type="application/json", content_encoding="gzip")
    assert answer.status_code == 429


@pytest.mark.parametrize(
    ("keys", "rate", "limited"),
    [("", None, False), ("a:one,b:one", None, False), ("a:one,b:two", None, True), ("a:one,b:two", "0", False),
     ("", "5", True)],
    ids=["no_keys", "one_organisation", "several_share", "switched_off", "set"],
)  # fmt: skip
def test_organisations_that_share_an_api_are_limited_by_default(
    keys: str, rate: str | None, *, limited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if rate is not None:
        monkeypatch.setenv("PENSTOCK_EVENTS_PER_SECOND", rate)
    made = _rate_limit(Settings(), len(ApiKeys.parse(keys).organisations))
    assert (made.request_max is not None) == limited


async def test_organisations_do_not_share_a_bucket(limit: RateLimit) -> None:
    assert await limit.take("one", 2 * FULL) == 0
    assert await limit.take("two", 1) == 0


async def test_a_bucket_fills_with_time_up_to_its_burst() -> None:
    clock = [0.0]
    limit = MemoryRateLimit(RATE, lambda: clock[0])
    assert await limit.take("o", FULL + 9) == 0
    assert await limit.take("o", 1) == pytest.approx(1.0)
    clock[0] = 1.0
    assert await limit.take("o", 1) == 0
    clock[0] = 1_000.0
    assert await limit.take("o", FULL) == 0
    assert await limit.take("o", 1) > 0


async def test_a_bucket_in_redis_fills_with_time(redis_url: str) -> None:
    limit = RedisRateLimit(redis_url, 1_000.0)
    assert await limit.take("fills", 2_020) == 0
    wait_s = await limit.take("fills", 1)
    assert 0 < wait_s <= 0.021
    async with asyncio.timeout(20):
        while await limit.take("fills", 1) > 0:  # noqa: ASYNC110 - Redis's own clock has to move
            await asyncio.sleep(wait_s)


async def test_nobody_is_held_back_while_redis_is_away() -> None:
    (port,) = free_ports(1)
    limit = RedisRateLimit(f"redis://127.0.0.1:{port}", RATE)
    assert [await limit.take("o", 10 * FULL), await limit.take("o", 1)] == [0, 0]


def test_a_sender_above_its_rate_is_told_when_to_come_again(apis: Apis) -> None:
    api = apis.start(rate_limit=MemoryRateLimit(1.0, lambda: 0.0))
    body = b'{"event_id":"e1","type":"click","campaign_id":"c","ts":%d}\n' % NOW_MS
    assert api.post(body * 6, content_type="text/plain").status_code == 202
    answer = api.post(body)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    assert answer.json()["type"] == "urn:penstock:problem:rate_limited"
    assert len(api.events()) == 6
