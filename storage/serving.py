"""The serving state where bidders read it: in Redis, or in memory by the same interface.

Redis layout: hash `penstock:serving:<org_id>` has a field a campaign, `schemas.serving.Serving` as JSON, so a bidder
reads one with one HGET and all with one HGETALL, in any language. Hash `penstock:serving-seq:<org_id>` holds the
sequence numbers. A change is published on channel `penstock:serving:<org_id>` as the campaign's id.
`penstock:serving-log` names the log that all of it is from, and `penstock:serving-position` how far topic `serving` was
written.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

import msgspec
import redis

from schemas.serving import Serving

KEY: Final = "penstock:serving:"
SEQ_KEY: Final = "penstock:serving-seq:"
LOG_KEY: Final = "penstock:serving-log"
POSITION_KEY: Final = "penstock:serving-position"
# What earlier versions kept.
_FOLD_KEY: Final = "penstock:serving-fold"

_log = logging.getLogger(__name__)

# KEYS: states, sequence numbers; ARGV: channel, then (campaign_id, seq, state) of each; returns how many took effect.
# Redis runs a script alone, so reading the old number and writing the new one is one step.
_PUT: Final = """
local written = 0
for i = 2, #ARGV, 3 do
    local old = redis.call('HGET', KEYS[2], ARGV[i])
    if not old or tonumber(old) <= tonumber(ARGV[i + 1]) then
        redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
        redis.call('PUBLISH', ARGV[1], ARGV[i])
        written = written + 1
    end
end
return written
"""
# Campaigns of one script call: it holds up Redis while it runs.
_PUT_MAX: Final = 500
TIMEOUT_S: Final = 5.0

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Serving)


class ServingStore(Protocol):
    """Serving states by (org_id, campaign_id). A state never replaces one with a higher `seq`."""

    def begin(self, identity: str, end: int) -> None:
        """Take states of this log from now on: those of another one, or of one that was longer, are forgotten."""
        ...

    def reached(self, position: int) -> None:
        """Topic `serving` was written up to this offset."""
        ...

    def put(self, states: Iterable[Serving]) -> int:
        """Write the states; returns how many took effect."""
        ...

    def get(self, org_id: str, campaign_id: str) -> Serving | None:
        """The state of a campaign, in one round trip; None when there is none."""
        ...

    def of_organisation(self, org_id: str) -> list[Serving]:
        """The states of all campaigns of an organisation, by campaign_id, in one round trip."""
        ...


class MemoryServing:
    """In this process's memory."""

    def __init__(self) -> None:
        self._states: dict[str, dict[str, Serving]] = defaultdict(dict)
        self._lock = threading.Lock()
        self._identity = ""
        self._position = 0

    def begin(self, identity: str, end: int) -> None:
        """Take states of this log from now on: those of another one, or of one that was longer, are forgotten."""
        if identity != self._identity or self._position > end:
            self._states.clear()
            self._identity, self._position = identity, 0

    def reached(self, position: int) -> None:
        """Topic `serving` was written up to this offset."""
        self._position = position

    def put(self, states: Iterable[Serving]) -> int:
        """Write the states; returns how many took effect."""
        written = 0
        with self._lock:
            for state in states:
                there = self._states[state.org_id]
                old = there.get(state.campaign_id)
                if old is None or old.seq <= state.seq:
                    there[state.campaign_id] = state
                    written += 1
        return written

    def get(self, org_id: str, campaign_id: str) -> Serving | None:
        """The state of a campaign; None when there is none."""
        return self._states.get(org_id, {}).get(campaign_id)

    def of_organisation(self, org_id: str) -> list[Serving]:
        """The states of all campaigns of an organisation, by campaign_id."""
        there = dict(self._states.get(org_id, {}))
        return [there[campaign_id] for campaign_id in sorted(there)]


class RedisServing:
    """In Redis. Raises redis.RedisError when it is away."""

    def __init__(self, url: str) -> None:
        self._redis: Any = redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
        self._put = self._redis.register_script(_PUT)

    def begin(self, identity: str, end: int) -> None:
        """Take states of this log from now on: those of another one, or of one that was longer, are forgotten.

        Sequence numbers say nothing across logs: a new log may begin with low ones, which would never take effect.
        """
        held, position = self._redis.mget(LOG_KEY, POSITION_KEY)
        if held is not None and held.decode() == identity and int(position or 0) <= end:
            return
        if held is not None:
            _log.warning("Redis holds the serving state of another log: it is forgotten and built anew from this one")
        patterns = [SEQ_KEY + "*"] if held is None else [SEQ_KEY + "*", KEY + "*"]
        for pattern in patterns:
            for name in self._redis.scan_iter(pattern, count=_PUT_MAX):
                self._redis.delete(name)
        self._redis.delete(POSITION_KEY, _FOLD_KEY)
        self._redis.set(LOG_KEY, identity)

    def reached(self, position: int) -> None:
        """Topic `serving` was written up to this offset."""
        self._redis.set(POSITION_KEY, position)

    def put(self, states: Iterable[Serving]) -> int:
        """Write the states and publish what took effect; returns how many did."""
        by_organisation: dict[str, list[Serving]] = defaultdict(list)
        for state in states:
            by_organisation[state.org_id].append(state)
        return sum(
            self._put_some(org_id, given[start : start + _PUT_MAX])
            for org_id, given in by_organisation.items()
            for start in range(0, len(given), _PUT_MAX)
        )

    def _put_some(self, org_id: str, states: list[Serving]) -> int:
        arguments: list[str | int | bytes] = [KEY + org_id]
        for state in states:
            arguments += [state.campaign_id, state.seq, _encoder.encode(state)]
        return int(self._put(keys=[KEY + org_id, SEQ_KEY + org_id], args=arguments))

    def get(self, org_id: str, campaign_id: str) -> Serving | None:
        """The state of a campaign, in one round trip; None when there is none."""
        raw = self._redis.hget(KEY + org_id, campaign_id)
        return None if raw is None else _decoder.decode(raw)

    def of_organisation(self, org_id: str) -> list[Serving]:
        """The states of all campaigns of an organisation, by campaign_id, in one round trip."""
        states = [_decoder.decode(raw) for raw in self._redis.hgetall(KEY + org_id).values()]
        return sorted(states, key=lambda state: state.campaign_id)

    def changes(self, org_id: str, *, timeout_s: float) -> Iterator[str]:
        """Ids of campaigns whose state changes from now on; ends after timeout_s without a change."""
        with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe(KEY + org_id)
            # The subscription is in force once Redis has said so.
            channel.get_message(timeout=timeout_s)
            while (message := channel.get_message(timeout=timeout_s)) is not None:
                yield message["data"].decode()

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
