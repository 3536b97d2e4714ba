"""The clock as an argument, tests move theirs by hand; and what of it goes into the written order (ADR 11)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

# A wall clock that is further ahead than this has leapt: it was set, or the machine stood still.
LEAP_MS: Final = 10_000
# How long a leap must last to be believed: two looks of an NTP client, 64 s apart, that would have set it right again.
BELIEVED_S: Final = 128.0
# Of Linux; elsewhere the monotonic clock must do.
_BOOT_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


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
        """Seconds that only ever rise, those in which the machine was suspended included."""
        return time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK)


class Reading(NamedTuple):
    """What goes into an entry of the journal."""

    now_ms: int
    # Higher than `now_ms` while the wall clock has leapt ahead and is not believed.
    wall_ms: int


class WrittenClock:
    """Time as the written order has it: never back, never slower than time passes, and not after every leap.

    It follows the wall clock. Where that falls behind, time goes on by seconds of the monotonic clock until it has
    caught up. A leap ahead of more than LEAP_MS that the monotonic clock knows nothing of is followed once it has
    lasted for BELIEVED_S; when the flow starts it is followed at once, since it was down for as long as it was.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at_ms = 0
        self._at_s = 0.0
        self._ahead_since_s: float | None = None

    def start(self, last_ms: int) -> None:
        """Go on after an entry of `last_ms`."""
        self._at_ms, self._at_s = max(last_ms, self._clock.wall_ms()), self._clock.mono_s()

    def at_least(self, now_ms: int) -> None:
        """An entry of `now_ms` came into force."""
        if now_ms > self._passed(self._clock.mono_s()):
            self._at_ms, self._at_s = now_ms, self._clock.mono_s()

    def read(self) -> Reading:
        """The time now."""
        now_s, wall_ms = self._clock.mono_s(), self._clock.wall_ms()
        passed_ms = self._passed(now_s)
        if wall_ms - passed_ms > LEAP_MS:
            if self._ahead_since_s is None:
                self._ahead_since_s = now_s
            if now_s - self._ahead_since_s < BELIEVED_S:
                return Reading(passed_ms, wall_ms)
        self._ahead_since_s = None
        if wall_ms > passed_ms:
            self._at_ms, self._at_s = wall_ms, now_s
        now_ms = max(wall_ms, passed_ms)
        return Reading(now_ms, now_ms)

    def _passed(self, now_s: float) -> int:
        return self._at_ms + round(1_000 * (now_s - self._at_s))


class Pace:
    """Keeps the partitions of a worker from looking at an idle log all the time.

    Bytewax could wait instead, but waits by the wall clock: set back by an hour, it would not look for an hour.
    """

    def __init__(self, clock: Clock, every_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
        self._clock = clock
        self._every_s = every_s
        self._sleep = sleep
        self._due_s: dict[int, float] = {}

    def is_due(self, partition: int) -> bool:
        """Whether the partition is to be looked at; waits while none is."""
        self._due_s.setdefault(partition, 0.0)
        wait_s = min(self._due_s.values()) - self._clock.mono_s()
        if wait_s > 0:
            self._sleep(min(wait_s, self._every_s))
        return self._due_s[partition] <= self._clock.mono_s()

    def looked(self, partition: int, *, idle: bool) -> None:
        """The partition was looked at; one that is idle rests."""
        self._due_s[partition] = self._clock.mono_s() + self._every_s if idle else 0.0

    def leave(self, partition: int) -> None:
        """The partition has come to its end."""
        self._due_s.pop(partition, None)
