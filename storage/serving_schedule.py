"""When a campaign may run by its definition: start, end, hours of the week. Pure.

What the dataflow decided about dates and day parts expires with the log; the definition does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from schemas.campaigns import Campaign
from schemas.decisions import Mode, Reason
from schemas.serving import Serving
from schemas.zones import zone_of

# Every zone's hours begin at one of these.
_QUARTER_MS: Final = 900_000


@dataclass(slots=True, frozen=True)
class Schedule:
    """Dates (ms), and the hours of the local week in which the campaign runs; None: no bound."""

    start_ms: int | None = None
    end_ms: int | None = None
    day_parts: frozenset[int] | None = None
    time_zone: str = "UTC"

    def pause(self, now_ms: int) -> Reason | None:
        """Why the campaign must not run at an instant, by its dates.

        >>> Schedule(start_ms=5, end_ms=9).pause(4), Schedule(start_ms=5, end_ms=9).pause(5)
        (<Reason.NOT_STARTED: 'not_started'>, None)
        """
        if self.start_ms is not None and now_ms < self.start_ms:
            return Reason.NOT_STARTED
        if self.end_ms is not None and now_ms >= self.end_ms:
            return Reason.ENDED
        return None

    def in_day_part(self, now_ms: int) -> bool:
        """Whether the hour is one of those it runs in."""
        if self.day_parts is None:
            return True
        local = datetime.fromtimestamp(now_ms / 1_000, UTC).astimezone(zone_of(self.time_zone))
        return local.weekday() * 24 + local.hour in self.day_parts

    def next_change_ms(self, now_ms: int) -> int | None:
        """When to ask again: the next instant at which an answer may be another; None: never."""
        ahead = [date for date in (self.start_ms, self.end_ms) if date is not None and date > now_ms]
        if self.day_parts is not None:
            ahead.append((now_ms // _QUARTER_MS + 1) * _QUARTER_MS)
        return min(ahead, default=None)


def schedule_of(campaign: Campaign) -> Schedule:
    """The schedule in a definition. Day parts hold where automation acts, as in the dataflow."""
    bidding = campaign.bidding
    parts = bidding.day_parts if bidding is not None and bidding.mode is Mode.AUTO else None
    return Schedule(
        campaign.start_ms, campaign.end_ms, frozenset(parts) if parts is not None else None, campaign.time_zone
    )


def at(state: Serving, schedule: Schedule, now_ms: int) -> Serving:
    """The state at an instant: outside its dates a campaign is paused, outside its day parts it takes part in nothing.

    A pause that was decided or set by a person keeps its reason.
    """
    reason = schedule.pause(now_ms)
    if reason is not None and not state.paused:
        state = msgspec.structs.replace(state, paused=True, pause_reason=reason.value)
    if state.pacing_rate and not schedule.in_day_part(now_ms):
        state = msgspec.structs.replace(state, pacing_rate=0.0)
    return state
