"""The epoch that a partition is in: how much of it was read, and whether it ends at all."""

from __future__ import annotations

from typing import Final

from flows.metrics import Meter
from flows.place import SourceOptions

# Bytewax ends epochs by the wall clock. One that still has not ended so long after it was overdue will not before that
# clock has come back to where it was.
_OVERDUE_SEEN_S: Final = 2.0


class Epoch:
    """From one snapshot to the next; seconds are those of a clock that only rises."""

    def __init__(self, meter: Meter, options: SourceOptions, now_s: float) -> None:
        self._meter = meter
        self._options = options
        self._bytes = 0
        self._began_s = now_s
        self._ended_s: float | None = None
        self._overdue_since_s: float | None = None

    def took(self, size: int) -> None:
        """So many bytes of events were read."""
        self._bytes += size

    def ended(self, now_s: float) -> None:
        """A snapshot was taken, and the next epoch begins."""
        self._bytes = 0
        self._ended_s = self._began_s = now_s
        self._overdue_since_s = None

    def note(self, now_s: float) -> None:
        """The dataflow goes on; count what it took to close the last epoch."""
        if self._ended_s is not None:
            self._meter.epoch_closed(now_s - self._ended_s)
            self._ended_s = None

    def hangs(self, now_s: float) -> bool:
        """Whether it does not end any more, as after the wall clock was set back."""
        limit = self._options.epoch_s_max
        if limit is None or now_s - self._began_s <= limit:
            return False
        if self._overdue_since_s is None:
            # The first look after a stop of this process; the epoch ends now if it can.
            self._overdue_since_s = now_s
        return now_s - self._overdue_since_s > _OVERDUE_SEEN_S

    def is_full(self) -> bool:
        """Whether it has had all that it may have."""
        limit = self._options.epoch_bytes_max
        return limit is not None and self._bytes >= limit
