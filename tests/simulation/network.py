"""The way to a remote part: requests and answers arrive, get lost, or arrive when nobody waits for them any more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


class UnreachableError(Exception):
    """Nobody answered in time; whether the request was worked on is not known."""


class Link:
    """One remote part. Faults are put into `next_calls` or switch `cut`; `calm` ends them."""

    def __init__(self) -> None:
        self.cut = False
        # What befalls the next calls: "lost" before the remote, "unanswered" behind it, "late" worked on afterwards.
        self.next_calls: deque[str] = deque()
        # Requests that nobody waits for any more, on their way yet.
        self.under_way: list[Callable[[], object]] = []

    def call(self, work: Callable[[], Answer]) -> Answer:
        """The remote's answer. Raises UnreachableError, and what the remote raises."""
        if self.cut:
            raise UnreachableError("connection refused")
        fate = self.next_calls.popleft() if self.next_calls else ""
        if fate == "late":
            self.under_way.append(work)
        if fate in ("lost", "late"):
            raise UnreachableError("timed out")
        answer = work()
        if fate == "unanswered":
            raise UnreachableError("timed out after the request was sent")
        return answer

    def deliver(self) -> None:
        """Requests that were under way reach the remote."""
        arrived, self.under_way = self.under_way, []
        for work in arrived:
            work()

    def calm(self) -> None:
        """No more faults."""
        self.cut = False
        self.next_calls.clear()
        self.deliver()
