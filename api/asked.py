"""Questions to ClickHouse from requests: in threads of their own, bounded in number and time.

A ClickHouse that hangs takes these threads and no others: the collector and everything else goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

from api.problems import Problem

THREADS: Final = 4
# Questions under way; more would only wait beyond ANSWER_S.
UNDER_WAY_MAX: Final = 32
# A page that somebody looks at. The client's own limit (storage.queries) ends the thread's wait soon after.
ANSWER_S: Final = 10.0

P = ParamSpec("P")
T = TypeVar("T")


class Asked:
    """Runs blocking questions, at most `threads` at a time."""

    def __init__(
        self, *, threads: int = THREADS, under_way_max: int = UNDER_WAY_MAX, answer_s: float = ANSWER_S
    ) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="clickhouse")
        self._under_way_max = under_way_max
        self._answer_s = answer_s
        self._under_way = 0

    async def ask(self, question: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """The answer. Raises Problem 503 when too many are asked already, 504 when there is none in time."""
        if self._under_way >= self._under_way_max:
            detail = f"{self._under_way} questions wait for ClickHouse; live figures go on without it."
            raise Problem(503, "clickhouse_busy", "Too many questions", detail, retry_after_s=5)
        future = self._executor.submit(question, *arguments, **named)
        self._under_way += 1
        future.add_done_callback(self._leaver())
        try:
            async with asyncio.timeout(self._answer_s):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            detail = f"ClickHouse did not answer within {self._answer_s:g} s; live figures go on without it."
            raise Problem(504, "clickhouse_slow", "No answer in time", detail, retry_after_s=5) from None

    def _leaver(self) -> Callable[[Any], None]:
        """Gives the place back on the event loop: a question that hangs keeps its own."""
        loop = asyncio.get_running_loop()

        def left(_: Any) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._leave)

        return left

    def _leave(self) -> None:
        self._under_way -= 1

    def close(self) -> None:
        """Take no more; what hangs is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)
