"""Metrics of the live hub, each named once."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

CLIENTS: Final = Gauge("penstock_live_clients", "Browsers connected to the live WebSocket.")
REFUSED: Final = Counter("penstock_live_refused_total", "Connections refused, by reason.", ["reason"])
FRAMES: Final = Counter("penstock_live_frames_total", "Frames sent to browsers, by type.", ["type"])
BYTES: Final = Counter("penstock_live_bytes_total", "Bytes of frames sent to browsers, before compression.")
# A client that is still taking one frame when the next is due never gets that one, only the last state after it.
DROPPED: Final = Counter("penstock_live_frames_dropped_total", "Frames that slow browsers did not get.")
CAMPAIGNS: Final = Gauge("penstock_live_campaigns", "Campaigns whose last row the hub holds.")
BAD_RECORDS: Final = Counter("penstock_live_bad_records_total", "Records of the log it could not read.", ["topic"])
