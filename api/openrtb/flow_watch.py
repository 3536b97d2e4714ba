"""Whether the dataflow still says how it is doing: without it nobody adds up what is spent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from schemas.live import FlowStatus

# Each worker says it once a second; a restart takes a few.
SILENT_S: Final = 10.0


class Statuses(Protocol):
    """The last status of each worker of the flow."""

    flow: dict[int, FlowStatus]


class FlowWatch:
    """Knows by its own clock (`mono_s`, seconds) how long the flow's newest status has stayed the same.

    A flow that was never heard of is not taken for one that is away.
    """

    def __init__(self, statuses: Statuses, mono_s: Callable[[], float]) -> None:
        self._statuses = statuses
        self._mono_s = mono_s
        self._newest_ms = 0
        self._changed_s = mono_s()

    def is_away(self) -> bool:
        """Whether it has been silent for SILENT_S."""
        newest_ms = max((status.now_ms for status in self._statuses.flow.values()), default=0)
        if newest_ms != self._newest_ms:
            self._newest_ms, self._changed_s = newest_ms, self._mono_s()
        return newest_ms > 0 and self._mono_s() - self._changed_s > SILENT_S
