"""Asks ClickHouse now and then whether it answers: readiness must not wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from api.asked import Asked
from api.parts import Parts
from api.problems import Problem
from api.wiring import Wiring

EVERY_S: Final = 3.0
ANSWER_S: Final = 5.0


@asynccontextmanager
async def watching(wiring: Wiring, parts: Parts, stop: asyncio.Event) -> AsyncIterator[None]:
    """Keeps `parts.clickhouse` up to date while the context lasts."""
    ping = getattr(wiring.kpis, "ping", None)
    if ping is None:
        yield
        return

    asked = Asked(threads=1, under_way_max=1, answer_s=ANSWER_S)

    async def watch() -> None:
        while not stop.is_set():
            try:
                parts.clickhouse = await asked.ask(ping)
            except Problem:
                parts.clickhouse = f"does not answer within {ANSWER_S:g} s: it hangs, or is halted"
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), EVERY_S)

    watcher = asyncio.create_task(watch(), name="clickhouse")
    try:
        yield
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
        asked.close()
