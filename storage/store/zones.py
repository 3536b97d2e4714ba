"""Campaigns' time zones, from topic `control`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Final

from schemas import topics
from schemas.control import CampaignRecord, decode_control
from schemas.log import Log, OffsetGoneError
from schemas.zones import zone_of
from storage.store.tables import decoded

_log = logging.getLogger(__name__)

_READ_BYTES: Final = 4 * 2**20
# A consumer of a broker has nothing at first; what was in the topic when asked must come within this.
WITHIN_S: Final = 30.0
_READ_WAIT_S: Final = 1.0
# Changes of a campaign's zone remembered; of more, the oldest are taken for one.
CHANGES_MAX: Final = 100
_HALF_DAY_MS: Final = 12 * 3_600_000

Campaign = tuple[str, str]


@dataclass(slots=True)
class _History:
    """A campaign's zones: the first holds from ever, each other from the end of the local day of its change."""

    version: int = 0
    # (changed_ms, name of the zone)
    zones: list[tuple[int, str]] = field(default_factory=list)

    def take(self, record: CampaignRecord) -> bool:
        """Take a definition; True when it changed the zone. One that came again, or is older, changes nothing."""
        if record.version <= self.version:
            return False
        zone = record.definition().time_zone
        self.version = record.version
        if self.zones and self.zones[-1][1] == zone:
            return False
        self.zones.append((record.changed_ms, zone))
        del self.zones[1 : len(self.zones) - CHANGES_MAX]
        return True


class Zones:
    """The time zone of each campaign; UTC for one without a definition. Reads the topic from its beginning."""

    def __init__(self, log: Log, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._position: int | None = None
        self._histories: dict[Campaign, _History] = {}

    def refresh(self) -> set[Campaign]:
        """Read on to where the topic ends now, however long its first answer takes; returns the campaigns whose zone
        is another now, at first all that have a definition. Raises LogUnavailableError."""
        if self._position is None:
            self._position = self._log.begin(topics.CONTROL, 0)
        end, deadline = self._log.end(topics.CONTROL, 0), self._clock() + WITHIN_S
        changed: set[Campaign] = set()
        while self._position < end:
            changed |= self._read_on(self._position, end, deadline)
        return changed

    def _read_on(self, position: int, end: int, deadline: float) -> set[Campaign]:
        try:
            chunk = self._log.read(topics.CONTROL, 0, position, _READ_BYTES, _READ_WAIT_S)
        except OffsetGoneError as gone:
            self._position = gone.begin
            return set()
        if chunk is None:
            if self._clock() >= deadline:
                # The broker answers, so what is left are removed records: they have no bytes and never come.
                _log.warning("topic control gave nothing from %d to its end %d; taken as removed", position, end)
                self._position = end
            return set()
        self._position = chunk.next_offset
        records = decoded(topics.CONTROL, chunk.records(), _definition)
        return {(record.org_id, record.campaign_id) for record in records if record is not None and self._take(record)}

    def _take(self, record: CampaignRecord) -> bool:
        return self._histories.setdefault((record.org_id, record.campaign_id), _History()).take(record)

    def day_bounds(self, org_id: str, campaign_id: str, ts_ms: int) -> tuple[int, int]:
        """Start and end (ms) of the campaign's day that holds an instant, as the dataflow cuts days."""
        history = self._histories.get((org_id, campaign_id))
        return day_of(history.zones if history is not None else [], ts_ms)


def _definition(raw: bytes) -> CampaignRecord | None:
    """The record when it is a definition; a bad one raises here and is left out."""
    record = decode_control(raw)
    if not isinstance(record, CampaignRecord):
        return None
    record.definition()
    return record


def day_of(zones: list[tuple[int, str]], ts_ms: int) -> tuple[int, int]:
    """The day that holds an instant, given the zones and when each was set (ms).

    A new zone holds from the end of the local day in which it was set; the day after that one ends at the first new
    midnight at least 12 hours on. Where a clock change skips midnight the day begins with the change.

    >>> hour = 3_600_000
    >>> [bound // hour for bound in day_of([(0, "UTC"), (30 * hour, "Asia/Tokyo")], 50 * hour)]
    [48, 63]
    """
    segments: list[tuple[int | None, str]] = [(None, zones[0][1] if zones else "UTC")]
    for changed_ms, zone in zones[1:]:
        end = _day_within(segments, changed_ms)[1]
        # Of several changes within a day the last holds.
        if segments[-1][0] == end:
            segments.pop()
        segments.append((end, zone))
    return _day_within(segments, ts_ms)


def _day_within(segments: Sequence[tuple[int | None, str]], ts_ms: int) -> tuple[int, int]:
    """The day that holds an instant, given from when each zone holds; the first holds from ever (None)."""
    since, zone = next(segment for segment in reversed(segments) if segment[0] is None or segment[0] <= ts_ms)
    if since is not None and ts_ms < (end := _after(zone, since)):
        return since, end
    return _plain(zone, ts_ms)


def _after(zone: str, start_ms: int) -> int:
    """End of the day that begins at an instant: the first local midnight at least 12 hours later."""
    return _plain(zone, start_ms + _HALF_DAY_MS - 1)[1]


def _plain(name: str, ts_ms: int) -> tuple[int, int]:
    zone = zone_of(name)
    day = datetime.fromtimestamp(ts_ms // 1_000, UTC).astimezone(zone).toordinal()
    return _midnight_ms(zone, day), _midnight_ms(zone, day + 1)


def _midnight_ms(zone: tzinfo, ordinal: int) -> int:
    return round(datetime.fromordinal(ordinal).replace(tzinfo=zone).timestamp() * 1_000)
