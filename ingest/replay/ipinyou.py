"""iPinYou's log format: 24 tab-separated columns a line, impressions, clicks and conversions.

Zhang et al., "Real-Time Bidding Benchmarking with iPinYou Dataset" (arXiv 1407.7073), table 3.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Final

COLUMNS: Final = 24
_BID_ID, _TIMESTAMP, _LOG_TYPE, _USER, _USER_AGENT, _IP, _REGION, _CITY, _EXCHANGE, _DOMAIN = range(10)
_SLOT, _WIDTH, _HEIGHT, _VISIBILITY, _FORMAT, _FLOOR, _CREATIVE, _BIDDING, _PAYING = range(12, 21)
_ADVERTISER, _USER_TAGS = 22, 23

# Log types and what they are here, with the ending of their event ids: an impression has the bid id as its own.
_TYPES: Final = {"1": ("impression", ""), "2": ("click", ".c"), "3": ("conversion", ".v")}
# A price is in fen (1/100 CNY) per thousand impressions: 10 micros of a CNY for each impression.
COST_MICROS_PER_FEN_CPM: Final = 10
_ABSENT: Final = frozenset({"", "null", "Null", "NULL", "Na", "na"})
_BID_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9_:\-]{1,40}", re.ASCII)
_TIMESTAMP_PATTERN: Final = re.compile(r"\d{17}", re.ASCII)
# The logs tell the local time of China, which has kept UTC+8 all year since 1991.
_CHINA: Final = timezone(timedelta(hours=8))


class IpinyouReader:
    """Turns log lines into events on the wire.

    One bid may have several impressions or clicks in the log, apart in time: the first has the bare event id, a later
    one has its time in it, and the very same line again has the same id, so that it counts once. For that the reader
    keeps one number for every bid id it saw (about 150 bytes).
    """

    def __init__(self, *, regions: Mapping[str, str] | None = None) -> None:
        self._regions = regions or {}
        self._first_time: dict[int, int] = {}

    def read(self, line: bytes) -> dict[str, Any]:
        """The event of a log line. Raises ValueError with the reason when the line is none.

        >>> columns = ["4f2", "20131021192300738", "1", *["null"] * 17, "201", "null", "2821", "null"]
        >>> event = IpinyouReader().read("\\t".join(columns).encode())
        >>> event["event_id"], event["ts"], event["campaign_id"], event["cost_micros"]
        ('4f2', 1382354580738, '2821', 2010)
        """
        columns = line.decode("utf-8", "replace").rstrip("\r\n").split("\t")
        if len(columns) != COLUMNS:
            raise ValueError(f"has {len(columns)} tab-separated columns and not {COLUMNS}")
        kind, ending = _kind(columns[_LOG_TYPE])
        if columns[_ADVERTISER] in _ABSENT:
            raise ValueError("has no advertiser")
        ts_ms = _instant_ms(columns[_TIMESTAMP])
        bid_id = columns[_BID_ID]
        has_bid = bid_id not in _ABSENT and _BID_ID_PATTERN.fullmatch(bid_id) is not None
        event: dict[str, Any] = {
            "event_id": self._event_id(bid_id, ending, ts_ms, columns[_TIMESTAMP]) if has_bid else _line_id(line),
            "type": kind,
            "ts": ts_ms,
            "campaign_id": columns[_ADVERTISER],
            "channel": "display",
            "platform": "other",
            "country": "CN",
        }
        if kind == "impression":
            event["cost_micros"] = COST_MICROS_PER_FEN_CPM * _price(columns[_PAYING])
        elif has_bid:
            event["impression_id" if kind == "click" else "click_id"] = bid_id if kind == "click" else f"{bid_id}.c"
        return event | self._described(columns)

    def _event_id(self, bid_id: str, ending: str, ts_ms: int, timestamp: str) -> str:
        key = hash((bid_id, ending))
        first_ms = self._first_time.setdefault(key, ts_ms)
        return f"{bid_id}{ending}" if first_ms == ts_ms else f"{bid_id}{ending}.{timestamp}"

    def _described(self, columns: list[str]) -> dict[str, Any]:
        """What the line says besides, absent columns left out."""
        region = columns[_REGION]
        fields = {
            "creative_id": columns[_CREATIVE],
            "placement_id": columns[_SLOT],
            "publisher_id": columns[_DOMAIN],
            "user_id": columns[_USER],
            "ip": columns[_IP],
            "user_agent": columns[_USER_AGENT],
            "region": self._regions.get(region, region),
            "city": columns[_CITY],
            "exchange": columns[_EXCHANGE],
            "user_tags": columns[_USER_TAGS],
        }
        return {name: value for name, value in fields.items() if value not in _ABSENT}


def read_region_names(text: str) -> dict[str, str]:
    """Region numbers and names, from iPinYou's region or city file.

    >>> read_region_names("Region\\tRegion Name\\n1\\tbeijing\\n")
    {'1': 'beijing'}
    """
    pairs = (line.split("\t") for line in text.splitlines())
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2 and pair[0].isdigit()}


def _kind(log_type: str) -> tuple[str, str]:
    found = _TYPES.get(log_type)
    if found is None:
        raise ValueError(f"has log type {log_type[:20]!r}: 1 is an impression, 2 a click, 3 a conversion")
    return found


def _instant_ms(timestamp: str) -> int:
    """yyyyMMddHHmmssSSS in China to milliseconds since 1970 UTC."""
    if not _TIMESTAMP_PATTERN.fullmatch(timestamp):
        raise ValueError(f"has the timestamp {timestamp[:30]!r} and not yyyyMMddHHmmssSSS")
    year, rest = int(timestamp[:4]), timestamp[4:]
    month, day, hour, minute, second = (int(rest[at : at + 2]) for at in range(0, 10, 2))
    try:
        local = datetime(year, month, day, hour, minute, second, tzinfo=_CHINA)
    except ValueError as error:
        raise ValueError(f"has the timestamp {timestamp}, which is not in the calendar") from error
    return int(local.timestamp()) * 1_000 + int(timestamp[14:])


def _price(fen: str) -> int:
    if not (fen.isascii() and fen.isdigit()):
        raise ValueError(f"has the paying price {fen[:20]!r} and not a whole number of fen")
    return int(fen)


def _line_id(line: bytes) -> str:
    """An id for a line whose bid id is null or cannot be an event id: the same line has the same."""
    return hashlib.blake2b(line, digest_size=16).hexdigest()
