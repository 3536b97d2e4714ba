"""Time in a history: true time passes with the turns; a machine's wall clock may be wrong, its monotonic one not."""

from __future__ import annotations

# 2026-05-28 21:59:40 UTC: twenty seconds before midnight in Berlin, two hours before it in UTC.
START_MS = 1_780_005_580_000


class SimClock:
    """Implements `flows.clock.Clock`."""

    def __init__(self) -> None:
        self.true_ms = START_MS
        # By how much the wall clock is wrong.
        self.error_ms = 0

    def wall_ms(self) -> int:
        return self.true_ms + self.error_ms

    def mono_s(self) -> float:
        return self.elapsed_ms / 1_000

    @property
    def elapsed_ms(self) -> int:
        """True time since the history began."""
        return self.true_ms - START_MS

    def wait(self, ms: int) -> None:
        """Let time pass."""
        self.true_ms += ms
