"""Whether the log took what was written last."""

from __future__ import annotations

import time
from typing import Final

# After a failure the api is not ready for so long; then a sender may try again.
FAILED_FOR_S: Final = 5.0


class LogHealth:
    """Remembers the last write's failure for a while."""

    def __init__(self) -> None:
        self._error: str | None = None
        self._failed_s = 0.0

    def failed(self, error: str) -> None:
        """A write failed."""
        self._error, self._failed_s = error, time.monotonic()

    def worked(self) -> None:
        """A write was durable."""
        self._error = None

    def error(self) -> str | None:
        """What the last write failed with, when that was just now."""
        return self._error if time.monotonic() - self._failed_s < FAILED_FOR_S else None
