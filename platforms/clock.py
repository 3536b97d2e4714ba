"""The clock that sending goes by."""

from __future__ import annotations

from collections.abc import Callable


class SteadyClock:
    """Milliseconds since 1970 as the wall clock had them at the start, from then on by seconds that only ever rise.

    Back-offs and rates of accounts are moments of this clock: with one that is set back by an hour, a pause would wait
    for that hour.

    >>> seconds = iter([10.0, 12.5])
    >>> SteadyClock(lambda: 1_000, lambda: next(seconds))()
    3500
    """

    def __init__(self, wall_ms: Callable[[], int], mono_s: Callable[[], float]) -> None:
        self._mono_s = mono_s
        self._began_ms = wall_ms()
        self._began_s = mono_s()

    def __call__(self) -> int:
        """The time now, in ms."""
        return self._began_ms + round(1_000 * (self._mono_s() - self._began_s))
