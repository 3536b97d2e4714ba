"""What a line of events is, by Python's own JSON reader and the rules of `schemas.events`, without `schemas.decode`.

Slow and plain. It shares with the decoder the names of fields, bounds and reasons, and the numbers of the hash.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from schemas.batch import SeriesKey
from schemas.dead_letters import Reject
from schemas.decode import words
from schemas.events import (
    CHANNELS,
    DEFAULT_ORG,
    EVENT_BYTES_MAX,
    FUTURE_MS_MAX,
    ID_BYTES_MAX,
    MICROS_MAX,
    PLATFORMS,
    TEXT_BYTES_MAX,
    TEXT_FIELDS,
    TS_MS_MAX,
    TS_MS_MIN,
)
from schemas.nesting import NESTING_MAX

TYPES = {"impression": 1, "click": 2, "conversion": 3, "lead": 4}
IDENTIFIERS = {
    *("org_id", "campaign_id", "ad_group_id", "creative_id", "placement_id", "publisher_id"),
    *("user_id", "device_id", "impression_id", "click_id"),
}
ID_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-")
LEAD_TEXTS = ("email", "name", "phone", "company", "source")
LEAD_FIELDS = (*LEAD_TEXTS, "source_details", "form_seconds", "consent")
TEXTS = ("org_id", "campaign_id", *TEXT_FIELDS)
KNOWN = ("event_id", "type", "ts", *TEXTS, "cost_micros", "revenue_micros", "lead")
MASK = 2**64 - 1


class Taken(NamedTuple):
    """An event."""

    type: int
    ts_ms: int
    cost_micros: int
    revenue_micros: int
    # By field, absent ones left out; with the organisation that is in force.
    texts: dict[str, str]
    lead: dict[str, Any] | None
    extra: dict[str, Any] | None

    def text(self, field: str) -> str:
        return self.texts.get(field, "")

    def series(self) -> SeriesKey:
        return SeriesKey(*(self.text(field) for field in SeriesKey._fields))

    def campaign_hash(self) -> int:
        return mix(self._hash("org_id", int(words.SEED_FIELD)), self._hash("campaign_id", int(words.SEED_FIELD)))

    def event_hash(self) -> int:
        return self._hash("event_id", mix(self.campaign_hash(), int(words.SEED_EVENT)))

    def actor(self) -> int:
        org = self._hash("org_id", int(words.SEED_FIELD))
        for field, seed in (("user_id", words.SEED_USER), ("device_id", words.SEED_DEVICE)):
            if self.text(field):
                return self._hash(field, mix(org, int(seed)))
        browser = self._hash("user_agent", int(words.SEED_FIELD))
        return self._hash("ip", mix(mix(org, int(words.SEED_ADDRESS)), browser))

    def _hash(self, field: str, seed: int) -> int:
        return hash_text(self.text(field).encode(), seed)


class RefusedError(Exception):
    """The line is no event: the reason, and the field that it is about."""

    def __init__(self, reason: Reject, field: str = "") -> None:
        self.reason, self.field = reason, field


def mix(a: int, b: int) -> int:
    a, b = a ^ int(words._SECRET_A), b ^ int(words._SECRET_B)
    return (a * b & MASK) ^ a ^ (a * b >> 64) ^ b


def hash_text(text: bytes, seed: int) -> int:
    """0 for no text."""
    if not text:
        return 0
    state, left = seed, text
    while len(left) > 16:
        state = mix(int.from_bytes(left[:8], "little") ^ state, int.from_bytes(left[8:16], "little"))
        left = left[16:]
    a, b = int.from_bytes(left[:8], "little"), int.from_bytes(left[8:], "little")
    return mix(mix(a ^ state, b), len(text) ^ state ^ int(words._SECRET_C)) or int(words._SECRET_C)


def is_blank(raw: bytes) -> bool:
    return not raw.strip(b" \t\r")


def parsed(raw: bytes) -> dict[str, Any]:
    """The object that the line is."""
    if len(raw) > EVENT_BYTES_MAX:
        raise RefusedError(Reject.TOO_LARGE)
    try:
        text = raw.decode()
        value = json.loads(text, object_pairs_hook=_checked, parse_constant=_no_constant, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise RefusedError(Reject.MALFORMED_JSON) from None
    if _depth(text) > NESTING_MAX:
        raise RefusedError(Reject.MALFORMED_JSON)
    if not isinstance(value, dict):
        raise RefusedError(Reject.NOT_AN_OBJECT)
    return value


def _checked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The last of equal keys counts; a lone surrogate is refused in those before it, too."""
    json.dumps(pairs, ensure_ascii=False).encode()
    return dict(pairs)


def _no_constant(word: str) -> Any:
    raise ValueError(word)


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(digits)
    return value


def _depth(text: str) -> int:
    """Arrays and objects within one another, of well-formed JSON."""
    if text.count("[") + text.count("{") <= NESTING_MAX:
        return 0
    deepest = depth = 0
    in_string = escaped = False
    for letter in text:
        if in_string:
            in_string, escaped = escaped or letter != '"', letter == "\\" and not escaped
        elif letter in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in "]}":
            depth -= 1
        else:
            in_string = letter == '"'
    return deepest


def instant_ms(text: str) -> int | None:
    """RFC 3339 to milliseconds, cut off; None for anything else."""
    head, tail = text[:19], text[19:]
    if len(head) < 19 or head[4] + head[7] + head[10] + head[13] + head[16] not in ("--T::", "--t::", "-- ::"):
        return None
    parts = [head[start:end] for start, end in ((0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19))]
    fraction = ""
    if tail.startswith("."):
        digits = len(tail[1:]) - len(tail[1:].lstrip("0123456789"))
        fraction, tail = tail[1 : digits + 1], tail[digits + 1 :]
        if not fraction:
            return None
    east = _minutes_east(tail)
    if east is None or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    try:
        moment = datetime(*map(int, parts), tzinfo=UTC)  # type: ignore[misc, arg-type]
    except ValueError:
        return None
    whole = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    return 1_000 * (whole - 60 * east) + int((fraction + "000")[:3])


def _minutes_east(zone: str) -> int | None:
    if zone in ("Z", "z"):
        return 0
    if len(zone) != 6 or zone[0] not in "+-" or zone[3] != ":":
        return None
    hours, minutes = zone[1:3], zone[4:]
    if not (hours + minutes).isascii() or not (hours + minutes).isdigit() or int(hours) > 23 or int(minutes) > 59:
        return None
    return int(zone[0] + "1") * (60 * int(hours) + int(minutes))


def _text(field: str, value: Any, bytes_max: int) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise RefusedError(Reject.WRONG_TYPE, field)
    if len(value.encode()) > bytes_max:
        raise RefusedError(Reject.BAD_VALUE, field)
    return value


def _whole(field: str, value: Any) -> int:
    if type(value) is not int:
        raise RefusedError(Reject.WRONG_TYPE, field)
    return value


def _required(row: dict[str, Any], field: str) -> Any:
    if row.get(field) is None:
        raise RefusedError(Reject.MISSING_FIELD, field)
    return row[field]


def _event_id(row: dict[str, Any]) -> str:
    value = _required(row, "event_id")
    if not isinstance(value, str):
        raise RefusedError(Reject.WRONG_TYPE, "event_id")
    if not 1 <= len(value) <= 64 or not ID_LETTERS.issuperset(value):
        raise RefusedError(Reject.BAD_VALUE, "event_id")
    return value


def _type(row: dict[str, Any]) -> int:
    value = _required(row, "type")
    if not isinstance(value, str):
        raise RefusedError(Reject.WRONG_TYPE, "type")
    if value not in TYPES:
        raise RefusedError(Reject.UNKNOWN_TYPE, "type")
    return TYPES[value]


def _ts(row: dict[str, Any]) -> int:
    value = _required(row, "ts")
    if isinstance(value, str):
        value = instant_ms(value)
        if value is None:
            raise RefusedError(Reject.BAD_VALUE, "ts")
    if not TS_MS_MIN <= _whole("ts", value) <= TS_MS_MAX:
        raise RefusedError(Reject.TS_OUT_OF_RANGE, "ts")
    return int(value)


def _micros(row: dict[str, Any], field: str) -> int:
    if row.get(field) is None:
        return 0
    if not 0 <= _whole(field, row[field]) <= MICROS_MAX:
        raise RefusedError(Reject.BAD_VALUE, field)
    return int(row[field])


def _listed(row: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for field in TEXTS:
        text = _text(field, row.get(field), ID_BYTES_MAX if field in IDENTIFIERS else TEXT_BYTES_MAX)
        if text is not None:
            found[field] = text
            if (field == "channel" and text not in CHANNELS) or (field == "platform" and text not in PLATFORMS):
                raise RefusedError(Reject.BAD_VALUE, field)
    return found


def _lead(given: Any) -> dict[str, Any] | None:
    if given is None:
        return None
    if not isinstance(given, dict):
        raise RefusedError(Reject.WRONG_TYPE, "lead")
    found = {name: _text(f"lead.{name}", given.get(name), TEXT_BYTES_MAX) for name in LEAD_TEXTS}
    found |= {"source_details": given.get("source_details"), "form_seconds": None, "consent": given.get("consent")}
    if (seconds := given.get("form_seconds")) is not None:
        if type(seconds) not in (int, float):
            raise RefusedError(Reject.WRONG_TYPE, "lead.form_seconds")
        try:
            found["form_seconds"] = float(seconds)
        except OverflowError:
            raise RefusedError(Reject.BAD_VALUE, "lead.form_seconds") from None
    return {name: value for name, value in found.items() if value is not None}


def judged(raw: bytes, now_ms: int, org_id: str | None) -> Taken:
    """The event that a line is. Raises RefusedError."""
    row = parsed(raw)
    event_id, kind, ts_ms = _event_id(row), _type(row), _ts(row)
    texts = {"event_id": event_id} | _listed(row)
    cost, revenue = _micros(row, "cost_micros"), _micros(row, "revenue_micros")
    lead = _lead(row.get("lead"))
    if ts_ms > now_ms + FUTURE_MS_MAX:
        raise RefusedError(Reject.TS_IN_FUTURE, "ts")
    if org_id is not None and texts.get("org_id", org_id) != org_id:
        raise RefusedError(Reject.WRONG_ORGANISATION, "org_id")
    if "campaign_id" not in texts and kind != TYPES["lead"]:
        raise RefusedError(Reject.MISSING_FIELD, "campaign_id")
    if lead is not None and kind != TYPES["lead"]:
        raise RefusedError(Reject.BAD_VALUE, "lead")
    texts["org_id"] = org_id or texts.get("org_id", DEFAULT_ORG)
    extra = {field: value for field, value in row.items() if field not in KNOWN}
    if lead is not None and (unknown := {k: v for k, v in row["lead"].items() if k not in LEAD_FIELDS}):
        extra["lead"] = unknown
    return Taken(kind, ts_ms, cost, revenue, texts, lead, extra or None)


def owner_of(raw: bytes, org_id: str | None) -> str:
    """Whose dead letter a refused line is."""
    if org_id is not None:
        return org_id
    try:
        return _text("org_id", parsed(raw).get("org_id"), ID_BYTES_MAX) or DEFAULT_ORG
    except RefusedError:
        return DEFAULT_ORG
