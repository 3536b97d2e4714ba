"""How the writer is doing, told once a second: metrics, and a row of topic `live` for dashboards."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from schemas import topics
from schemas.live import StoreStatus, Verification, encode_live
from schemas.log import Log, LogUnavailableError
from storage import metrics
from storage.store.feed import Health

REACH_EVERY_S: Final = 60.0
STATES: Final = ("ok", "behind", "down")


def status_of(
    healths: Mapping[str, Health],
    now_s: float,
    now_ms: int,
    verification: Verification | None = None,
    reach_s: float | None = None,
) -> StoreStatus:
    """The worst state of all feeds, the records that wait in all of them, and the first error."""
    states = [health.state(now_s) for health in healths.values()]
    errors = [f"{name}: {health.error}" for name, health in healths.items() if health.error is not None]
    return StoreStatus(
        now_ms=now_ms,
        state=max(states, key=STATES.index, default="ok"),
        lag_records=sum(health.lag_records for health in healths.values()),
        error=errors[0] if errors else None,
        verification=verification,
        reach_s=reach_s,
    )


class Reach:
    """How far back the log reaches, asked once a minute: to look costs milliseconds, up to a second."""

    def __init__(self, ask: Callable[[], float | None]) -> None:
        self._ask = ask
        self._due_s = 0.0
        self._seconds: float | None = None

    def seconds(self, now_s: float) -> float | None:
        """The last answer; None when there is none."""
        if now_s >= self._due_s:
            self._due_s = now_s + REACH_EVERY_S
            with suppress(LogUnavailableError):
                self._seconds = self._ask()
            metrics.REACH.set(math.nan if self._seconds is None else self._seconds)
        return self._seconds


def tell(
    log: Log,
    healths: Mapping[str, Health],
    verification: Verification | None = None,
    reach: Reach | None = None,
) -> StoreStatus:
    """Set the metrics and write the row; a log that is away is no reason to stop."""
    now_s = time.monotonic()
    for name, health in healths.items():
        metrics.LAG.labels(name).set(health.lag_records)
        metrics.STATE.labels(name).set(STATES.index(health.state(now_s)))
    reach_s = None if reach is None else reach.seconds(now_s)
    status = status_of(healths, now_s, time.time_ns() // 1_000_000, verification, reach_s)
    with suppress(LogUnavailableError):
        log.append(topics.LIVE, 0, [encode_live(status)])
    return status
