"""`penstock actuate`: the real actuator, outbox, sender and adapter on an event loop that is stepped."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import httpx

from platforms.clock import SteadyClock
from platforms.host import Actuator
from platforms.outbox import Outbox
from platforms.registry import ADAPTERS
from platforms.sender import Sender
from schemas.log import Log
from tests.simulation.clock import SimClock
from tests.simulation.platform import Platform, PlatformTransport
from tests.simulation.process import Process

ARMED = "facebook"


# A killed process leaves what it waited for behind; Python would say so whenever it finds it.
warnings.filterwarnings("ignore", message="coroutine 'Event.wait' was never awaited")


class SimLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is the history's, and which runs one turn at a time."""

    def __init__(self, clock: SimClock) -> None:
        super().__init__()
        self._sim_clock = clock
        self.set_exception_handler(lambda loop, context: None)

    def time(self) -> float:
        return self._sim_clock.mono_s()

    def turn(self) -> None:
        """Run what is due now."""
        self.call_soon(self.stop)
        self.run_forever()


async def inline(work: Callable[..., Any], *arguments: Any) -> Any:
    """Stands in for `asyncio.to_thread`: there is one thread."""
    return work(*arguments)


class Actuate(Process):
    """Steps the actuator's loop; its end is a crash."""

    name = "actuate"

    def __init__(self, clock: SimClock, rng: Random, open_log: Callable[[], Log], platform: Platform) -> None:
        super().__init__(clock, rng)
        self._open = open_log
        self._platform = platform
        self._loop: SimLoop | None = None

    def open_log(self) -> Log:
        return self._open()

    def start(self) -> None:
        credentials = {ARMED: {"access_token": "simulated"}}
        client = httpx.AsyncClient(transport=PlatformTransport(self._platform))
        self._loop = SimLoop(self.clock)
        clock_ms = SteadyClock(self.clock.wall_ms, self.clock.mono_s)
        sender = Sender(credentials, clock_ms=clock_ms, client=client)
        self.actuator = Actuator(self.log, Outbox(ADAPTERS, frozenset(credentials)), sender, clock_ms)
        stop = asyncio.Event()
        self._task = self._loop.create_task(self.actuator.run(stop))

    def step(self) -> bool:
        assert self._loop is not None
        self._loop.turn()
        if self._task.done():
            self._task.result()
        return False

    def idle(self) -> bool:
        """Nothing is on its way to a platform."""
        return self.alive and not self.actuator.outbox.waiting and not self._platform.busy

    def kill(self) -> None:
        super().kill()
        loop, self._loop = self._loop, None
        if loop is None:
            return
        with warnings.catch_warnings():
            # Nothing that was under way in the process is finished; Python would say so of each part of it.
            warnings.simplefilter("ignore", RuntimeWarning)
            for task in asyncio.all_tasks(loop):
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                with suppress(BaseException):
                    task.get_coro().close()  # type: ignore[union-attr]
            loop._ready.clear()  # type: ignore[attr-defined]
            loop._scheduled.clear()  # type: ignore[attr-defined]
            loop.close()
            del loop
