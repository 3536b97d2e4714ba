"""Messages of the live WebSocket: what a client may say, what the first frame tells it, and every limit."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from api.live.measures import CHARTS, COLUMNS, MEASURES, SPANS, TILES
from api.live.points import POINTS_MAX, SPARK_POINTS, STEP_MS
from api.live.rows import COUNTERS

PROTOCOL: Final = "penstock.live.1"
# A browser sends its API key as a second subprotocol, since it cannot set headers; a query would end up in logs.
KEY_PREFIX: Final = "key."

# Of all organisations; one alone may have half (`ingest.fair_share`).
CLIENTS_MAX: Final = 512
MESSAGE_BYTES_MAX: Final = 64 * 1024
SUBSCRIPTION_MAX: Final = 1_000
# Frames of changes a second, while a page is looked at. A burst becomes one frame.
FRAMES_PER_S: Final = 20
# Rows in one frame; more wait for the next, the longest waiting first.
ROWS_PER_FRAME: Final = 2_000
SNAPSHOT_ROWS_PER_FRAME: Final = 500
DECISIONS_PER_FRAME: Final = 200
# Decisions in a snapshot: what a feed shows before anyone scrolls.
SNAPSHOT_DECISIONS: Final = 200
# Campaigns whose points a client may ask for before they were sent.
DETAILS_MAX: Final = 8
HEARTBEAT_S: Final = 5.0
# Nothing heard for this many heartbeats: the peer is gone.
HEARTBEATS_MISSED_MAX: Final = 3
# A client that takes nothing for so long is closed; it resumes where it was.
WRITE_TIMEOUT_S: Final = 15.0
# Messages a second from one client, above which it is closed.
MESSAGES_PER_S: Final = 50

# Close codes (4000-4999 are the application's own).
CLOSE_BAD_MESSAGE: Final = 4400
CLOSE_UNAUTHORISED: Final = 4401
CLOSE_SILENT: Final = 4408
CLOSE_TOO_MANY: Final = 4429


class Subscribe(msgspec.Struct, tag="subscribe", tag_field="type", forbid_unknown_fields=True):
    """Which campaigns to be told about; a new snapshot follows."""

    campaigns: Literal["all"] | list[str]


class Pause(msgspec.Struct, tag="pause", tag_field="type", forbid_unknown_fields=True):
    """Send no more changes; heartbeats go on."""


class Resume(msgspec.Struct, tag="resume", tag_field="type", forbid_unknown_fields=True):
    """Send changes again, beginning with everything that changed meanwhile."""


class Detail(msgspec.Struct, tag="detail", tag_field="type", forbid_unknown_fields=True):
    """Asks for the last hour of points and the recent decisions of one campaign."""

    campaign_id: str


class Ping(msgspec.Struct, tag="ping", tag_field="type", forbid_unknown_fields=True):
    """Asks for a pong."""


class Pong(msgspec.Struct, tag="pong", tag_field="type", forbid_unknown_fields=True):
    """Answers a ping: the client is there."""


ClientMessage = Subscribe | Pause | Resume | Detail | Ping | Pong
_decoder: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)


class BadMessageError(Exception):
    """What a client said is not of the protocol; the text says what."""


def decode_message(text: str) -> ClientMessage:
    """What the client said; raises BadMessageError.

    >>> decode_message('{"type":"subscribe","campaigns":["c1"]}')
    Subscribe(campaigns=['c1'])
    """
    if len(text) > MESSAGE_BYTES_MAX:
        raise BadMessageError(f"a message may have {MESSAGE_BYTES_MAX} bytes")
    try:
        message = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise BadMessageError(str(error)) from error
    if isinstance(message, Subscribe) and len(message.campaigns) > SUBSCRIPTION_MAX:
        raise BadMessageError(f"a subscription may name {SUBSCRIPTION_MAX} campaigns; subscribe to all instead")
    return message


def configuration(session: str, version: str, heartbeat_s: float) -> dict[str, Any]:
    """What a browser needs to know to draw: it is the first thing on the wire."""
    return {
        "protocol": PROTOCOL,
        "session": session,
        "server_version": version,
        "heartbeat_ms": round(heartbeat_s * 1_000),
        "frames_per_s": FRAMES_PER_S,
        "limits": {
            "message_bytes": MESSAGE_BYTES_MAX,
            "subscription": SUBSCRIPTION_MAX,
            "points": POINTS_MAX,
            "spark_points": SPARK_POINTS,
        },
        "point_ms": STEP_MS,
        "counters": COUNTERS,
        "measures": MEASURES,
        "columns": COLUMNS,
        "tiles": TILES,
        "charts": CHARTS,
        "spans": SPANS,
    }
