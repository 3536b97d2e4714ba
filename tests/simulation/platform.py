"""An ad platform in memory, behind the HTTP client of the sender: it works on requests when they reach it, which may be
long after the sender has given up, and in another order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from urllib.parse import parse_qsl

import httpx

from tests.simulation.clock import SimClock
from tests.simulation.network import Link

# How long the sender waits for an answer, in simulated seconds.
TIMEOUT_S = 3.0
# How long a request that nobody waits for may be on its way.
LATE_S = 30.0


@dataclass
class Platform:
    """What its objects look like now: the last value of each field."""

    clock: SimClock
    rng: Random
    link: Link
    fields: dict[tuple[str, str], str] = field(default_factory=dict)
    _arriving: list[tuple[float, int, str, Mapping[str, str]]] = field(default_factory=list)
    _count: int = 0

    def send(self, node: str, form: Mapping[str, str], in_s: float) -> None:
        """A request that takes effect in so many seconds, whatever becomes of the sender."""
        self._count += 1
        self._arriving.append((self.clock.mono_s() + in_s, self._count, node, form))

    def turn(self) -> None:
        """Work on what has arrived by now."""
        now_s = self.clock.mono_s()
        for arrival in sorted(one for one in self._arriving if one[0] <= now_s):
            self._arriving.remove(arrival)
            _, _, node, form = arrival
            self.fields |= {(node, name): value for name, value in form.items()}

    @property
    def busy(self) -> bool:
        """Something is under way."""
        return bool(self._arriving)


class PlatformTransport(httpx.AsyncBaseTransport):
    """The way from the sender's HTTP client to the platform."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        platform, link = self._platform, self._platform.link
        node, form = request.url.path.rsplit("/", 1)[-1], dict(parse_qsl(request.content.decode()))
        if link.cut:
            raise httpx.ConnectError("refused")
        fate = link.next_calls.popleft() if link.next_calls else ""
        if fate in ("lost", "unanswered", "late"):
            if fate != "lost":
                platform.send(node, form, platform.rng.uniform(0, TIMEOUT_S if fate == "unanswered" else LATE_S))
            await asyncio.sleep(TIMEOUT_S)
            raise httpx.ReadTimeout("no answer")
        way_s = platform.rng.uniform(0.01, 0.8)
        platform.send(node, form, way_s)
        await asyncio.sleep(way_s)
        platform.turn()
        await asyncio.sleep(way_s)
        return httpx.Response(200, json={"success": True})
