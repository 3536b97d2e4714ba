"""A client of ClickHouse that tells its loop while it waits for an answer, so that a wait is told from a hang."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from schemas.health import Loop
from schemas.tracing import span
from storage.client import Client


@contextmanager
def answering(loop: Loop) -> Iterator[None]:
    """The loop waits for ClickHouse in this context. The client's own time limits end it."""
    loop.waits_for("an answer of ClickHouse", "call")
    try:
        yield
    finally:
        loop.goes_on("call")


class Watched:
    """Passes everything on to the client."""

    def __init__(self, client: Client, loop: Loop) -> None:
        self._client = client
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            with answering(self._loop), span(f"ClickHouse {name}", feed=self._loop.name):
                return found(*arguments, **named)

        return call
