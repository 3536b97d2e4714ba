"""The clock as an argument: the source and the sink are given one, tests move theirs by hand."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where the shell takes time from."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        ...

    def mono_s(self) -> float:
        """Seconds that only ever rise, for waits."""
        ...


class SystemClock:
    """The machine's clock."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000

    def mono_s(self) -> float:
        """Seconds that only ever rise."""
        return time.monotonic()
