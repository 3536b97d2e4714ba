"""Campaigns' time zones, from topic `control`."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from schemas import topics
from schemas.control import CampaignRecord, decode_control
from schemas.log import Log
from storage.store.tables import decoded

_READ_BYTES = 4 * 2**20


class Zones:
    """The time zone of each campaign; UTC for one without a definition. Reads the topic from its beginning."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._position: int | None = None
        self._zones: dict[tuple[str, str], str] = {}

    def refresh(self) -> None:
        """Take what is new in the topic. Raises LogUnavailableError."""
        if self._position is None:
            self._position = self._log.begin(topics.CONTROL, 0)
        while (chunk := self._log.read(topics.CONTROL, 0, self._position, _READ_BYTES)) is not None:
            for record in decoded(topics.CONTROL, chunk.records(), decode_control):
                if isinstance(record, CampaignRecord):
                    self._zones[record.org_id, record.campaign_id] = record.definition().time_zone
            self._position = chunk.next_offset

    def day_bounds(self, org_id: str, campaign_id: str, ts_ms: int) -> tuple[int, int]:
        """Start and end (ms) of the campaign's day that holds an instant.

        Where a clock change skips midnight the day begins with the change, as in the dataflow.
        """
        zone = ZoneInfo(self._zones.get((org_id, campaign_id), "UTC"))
        day = datetime.fromtimestamp(ts_ms // 1_000, UTC).astimezone(zone).toordinal()
        return _midnight_ms(zone, day), _midnight_ms(zone, day + 1)


def _midnight_ms(zone: ZoneInfo, ordinal: int) -> int:
    return round(datetime.fromordinal(ordinal).replace(tzinfo=zone).timestamp() * 1_000)
