"""Wait for a condition with a deadline, in place of a sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], deadline_s: float = 20.0) -> None:
    """Return once `condition()` is true; raises TimeoutError at the deadline."""
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - what is waited for belongs to a part without an event
            await asyncio.sleep(0.005)
