"""Threads that take bodies apart, shared fairly between organisations, and given up when the sender leaves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")
# Bodies taken apart at once: each may hold BODY_BYTES_MAX once decompressed, and as much again as events.
THREADS: Final = 4
# Of one organisation where several share the api, at work or next in line: parsing holds the interpreter, and two at
# it were felt by everybody else. Further bodies wait by themselves, in nobody else's way.
THREADS_OF_ONE: Final = 1


class BodyWork:
    """Runs functions on bodies off the event loop."""

    def __init__(self, threads: int = THREADS, threads_of_one: int = THREADS_OF_ONE) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="body")
        self._threads_of_one = threads_of_one
        # As many as there are organisations with a key.
        self._turns: dict[str, asyncio.Semaphore] = {}

    async def run(self, request: Request, org_id: str, work: Callable[[Callable[[], None]], T]) -> T:
        """What `work` returns, whose body must have been read whole.

        It is given a function to call between its steps, which raises ClientDisconnect once the sender has left.
        """
        gone = threading.Event()

        def still_wanted() -> None:
            if gone.is_set():
                raise ClientDisconnect

        working = asyncio.create_task(self._in_turn(org_id, lambda: work(still_wanted)))
        leaving = asyncio.create_task(_left(request))
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise ClientDisconnect
            return working.result()
        finally:
            gone.set()
            for task in (working, leaving):
                task.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)

    def close(self) -> None:
        """End the threads once they are through."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _in_turn(self, org_id: str, work: Callable[[], T]) -> T:
        turns = self._turns.setdefault(org_id, asyncio.Semaphore(self._threads_of_one))
        await turns.acquire()
        loop = asyncio.get_running_loop()

        def ended(_: Future[Any]) -> None:
            # Not when we stop waiting: the thread may still be at it. At the end of the process the loop is closed.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(turns.release)

        try:
            future = self._pool.submit(work)
        except BaseException:
            turns.release()
            raise
        future.add_done_callback(ended)
        return await asyncio.wrap_future(future)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
