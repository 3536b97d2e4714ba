"""How many events an organisation may send: a token bucket, in memory or shared through Redis."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import redis.asyncio
from redis.exceptions import RedisError

_log = logging.getLogger(__name__)

# What a bucket holds, in seconds of its rate: a sender that batches once a second is within its rate.
BURST_S: Final = 2.0
# What a request may owe, in seconds of the rate: requests are not cut, but none locks its organisation out for longer.
DEBT_S: Final = 10.0
_KEY: Final = "penstock:rate:"
# Redis answers in well under a millisecond; events do not wait for one that does not.
_TIMEOUT_S: Final = 0.25

# KEYS[1]: the bucket; ARGV: rate, burst, amount. Redis's own clock, so that all apis share one. A whole request goes
# through once there is anything in the bucket, which may then owe: requests are not cut. An amount of 0 only asks.
_TAKE: Final = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local held = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = burst
if held[1] then tokens = math.min(burst, tonumber(held[1]) + (now - tonumber(held[2])) * rate) end
if tokens <= 0 then return tostring((1 - tokens) / rate) end
tokens = tokens - tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(1000 * (burst - tokens) / rate) + 1000)
return '0'
"""


class RateLimit(Protocol):
    """Says whether so many events may come in now.

    `request_max` is the most that one request may bring; more would owe for longer than DEBT_S. None: no bound.
    """

    @property
    def request_max(self) -> int | None:
        """Events in one request."""
        ...

    async def take(self, org_id: str, events: int) -> float:
        """0 when they may; else the seconds to wait, and nothing was taken."""
        ...


class Unlimited:
    """Lets everything in."""

    request_max: int | None = None

    async def take(self, org_id: str, events: int) -> float:
        """Always 0."""
        return 0.0


class MemoryRateLimit:
    """Token buckets of this process. `clock_s` is any clock that never goes back."""

    def __init__(self, events_per_s: float, clock_s: Callable[[], float]) -> None:
        self._rate = events_per_s
        self._burst = events_per_s * BURST_S
        self.request_max: int | None = max(1, int(events_per_s * DEBT_S))
        self._clock_s = clock_s
        # Tokens and when they were counted; as many as there are organisations with a key.
        self._buckets: dict[str, tuple[float, float]] = {}

    async def take(self, org_id: str, events: int) -> float:
        """0 when the events may come in; a request that is let in whole may leave the bucket owing."""
        now_s = self._clock_s()
        tokens, at_s = self._buckets.get(org_id, (self._burst, now_s))
        tokens = min(self._burst, tokens + (now_s - at_s) * self._rate)
        if tokens <= 0:
            return (1.0 - tokens) / self._rate
        self._buckets[org_id] = (tokens - events, now_s)
        return 0.0


class RedisRateLimit:
    """Token buckets that several apis share. While Redis is away nobody is held back."""

    def __init__(self, url: str, events_per_s: float) -> None:
        self._rate = events_per_s
        self.request_max: int | None = max(1, int(events_per_s * DEBT_S))
        # When an organisation's bucket has something again; so that a flood asks Redis once and not at each request.
        self._until: dict[str, float] = {}
        self._redis: Any = redis.asyncio.Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
        )
        self._take = self._redis.register_script(_TAKE)

    async def take(self, org_id: str, events: int) -> float:
        """0 when the events may come in; a request that is let in whole may leave the bucket owing."""
        wait_s = self._until.get(org_id, 0.0) - time.monotonic()
        if wait_s > 0:
            return wait_s
        try:
            told = await self._take(keys=[_KEY + org_id], args=[self._rate, self._rate * BURST_S, events])
        except (RedisError, OSError) as error:
            _log.warning("no rate limit while Redis is away: %s", error)
            return 0.0
        wait_s = float(told)
        if wait_s > 0:
            self._until[org_id] = time.monotonic() + wait_s
        return wait_s
