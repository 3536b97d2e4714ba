"""One event at a time: what decides about a line that the column scanner is not sure of, and what people send."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from schemas.dead_letters import Reject
from schemas.decode.instants import rfc3339_ms
from schemas.events import (
    CHANNELS,
    DEFAULT_ORG,
    EVENT_BYTES_MAX,
    EVENT_ID_PATTERN,
    FUTURE_MS_MAX,
    ID_BYTES_MAX,
    MICROS_MAX,
    PLATFORMS,
    TEXT_BYTES_MAX,
    TEXT_FIELDS,
    TS_MS_MAX,
    TS_MS_MIN,
    Event,
    EventType,
    Lead,
)
from schemas.nesting import NESTING_MAX, nests_too_deep

# Characters of a refused value that a detail shows.
_SHOWN_MAX: Final = 80
_EVENT_ID: Final = re.compile(EVENT_ID_PATTERN.removeprefix("^").removesuffix("$"))
_TYPES: Final = frozenset(kind.wire for kind in EventType)
_LEAD_TEXTS: Final = ("email", "name", "phone", "company", "source")
_LISTED: Final = {"channel": CHANNELS, "platform": PLATFORMS}

_decoder = msgspec.json.Decoder()


class Refused(NamedTuple):
    """Why a line is not an event: the reason code, the field it is about ("" for the line), and words for a person."""

    reason: Reject
    field: str
    detail: str


def _shown(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."


def _wrong_type(field: str, wanted: str, given: Any) -> Refused:
    return Refused(Reject.WRONG_TYPE, field, f"must be {wanted}, is {_shown(given)}")


def _text(field: str, given: Any, bytes_max: int = TEXT_BYTES_MAX) -> str | Refused | None:
    """The text; None for null and for the empty string."""
    if given is None:
        return None
    if not isinstance(given, str):
        return _wrong_type(field, "a string", given)
    if len(given.encode()) > bytes_max:
        return Refused(Reject.BAD_VALUE, field, f"is longer than {bytes_max} bytes")
    return given or None


def _identifier(field: str, given: Any) -> str | Refused | None:
    return _text(field, given, ID_BYTES_MAX)


def _listed(field: str, given: Any) -> str | Refused | None:
    text = _text(field, given)
    if text is None or isinstance(text, Refused) or text in _LISTED[field]:
        return text
    return Refused(Reject.BAD_VALUE, field, f"must be one of {', '.join(_LISTED[field])}, is {_shown(text)}")


def _event_id(field: str, given: Any) -> str | Refused:
    if given is None:
        return Refused(Reject.MISSING_FIELD, field, "is required")
    if not isinstance(given, str):
        return _wrong_type(field, "a string", given)
    if _EVENT_ID.fullmatch(given) is None:
        return Refused(Reject.BAD_VALUE, field, f"must be 1 to 64 of A-Z a-z 0-9 _ . : -, is {_shown(given)}")
    return given


def _type(field: str, given: Any) -> str | Refused:
    if given is None:
        return Refused(Reject.MISSING_FIELD, field, "is required")
    if not isinstance(given, str):
        return _wrong_type(field, "a string", given)
    if given not in _TYPES:
        return Refused(Reject.UNKNOWN_TYPE, field, f"must be one of {', '.join(sorted(_TYPES))}, is {_shown(given)}")
    return given


def _instant(field: str, given: Any) -> int | Refused:
    if given is None:
        return Refused(Reject.MISSING_FIELD, field, "is required")
    if isinstance(given, str):
        ts_ms = rfc3339_ms(given)
        if ts_ms is None:
            return Refused(Reject.BAD_VALUE, field, f"must be RFC 3339 with a zone, is {_shown(given)}")
    elif isinstance(given, bool) or not isinstance(given, int):
        return _wrong_type(field, "integer milliseconds or RFC 3339 with a zone", given)
    else:
        ts_ms = given
    if not TS_MS_MIN <= ts_ms <= TS_MS_MAX:
        return Refused(Reject.TS_OUT_OF_RANGE, field, f"is not between 2000 and 2100 in milliseconds: {_shown(given)}")
    return ts_ms


def _micros(field: str, given: Any) -> int | Refused:
    if given is None:
        return 0
    if isinstance(given, bool) or not isinstance(given, int):
        return _wrong_type(field, "integer micros", given)
    if not 0 <= given <= MICROS_MAX:
        return Refused(Reject.BAD_VALUE, field, f"is not between 0 and {MICROS_MAX}: {_shown(given)}")
    return given


def _lead(field: str, given: Any) -> Lead | Refused | None:
    if given is None:
        return None
    if not isinstance(given, dict):
        return _wrong_type(field, "an object", given)
    values: dict[str, Any] = {"source_details": given.get("source_details"), "consent": given.get("consent")}
    for name in _LEAD_TEXTS:
        text = _text(f"lead.{name}", given.get(name))
        if isinstance(text, Refused):
            return text
        values[name] = text
    seconds = given.get("form_seconds")
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float)):
        return _wrong_type("lead.form_seconds", "a number", seconds)
    try:
        values["form_seconds"] = None if seconds is None else float(seconds)
    except OverflowError:
        return Refused(Reject.BAD_VALUE, "lead.form_seconds", f"is out of range: {_shown(seconds)}")
    return Lead(**values)


_Check = Callable[[str, Any], Any]
_IDENTIFIERS: Final = frozenset(
    ["ad_group_id", "creative_id", "placement_id", "publisher_id", "user_id", "device_id", "impression_id", "click_id"]
)


def is_identifier(field: str) -> bool:
    """Whether a text field is an identifier, bounded by ID_BYTES_MAX, and not free text."""
    return field in _IDENTIFIERS


def _check_of(field: str) -> _Check:
    if field in _LISTED:
        return _listed
    return _identifier if is_identifier(field) else _text


# Every field that is known, `lead` among them, and what it must be.
CHECKS: Final[dict[str, _Check]] = {
    "event_id": _event_id,
    "type": _type,
    "ts": _instant,
    "org_id": _identifier,
    "campaign_id": _identifier,
    **{field: _check_of(field) for field in TEXT_FIELDS},
    "cost_micros": _micros,
    "revenue_micros": _micros,
    "lead": _lead,
}
_KNOWN_IN_LEAD: Final = frozenset(Lead.__struct_fields__)


def _parsed(raw: bytes) -> dict[str, Any] | Refused:
    if len(raw) > EVENT_BYTES_MAX:
        return Refused(Reject.TOO_LARGE, "", f"is {len(raw)} bytes long, more than {EVENT_BYTES_MAX}")
    if nests_too_deep(raw):
        return Refused(Reject.MALFORMED_JSON, "", f"nests deeper than {NESTING_MAX}")
    try:
        raw.decode()
        row = _decoder.decode(raw)
    except UnicodeDecodeError as error:
        return Refused(Reject.MALFORMED_JSON, "", f"is not UTF-8 at byte {error.start}")
    except (msgspec.DecodeError, RecursionError) as error:
        return Refused(Reject.MALFORMED_JSON, "", str(error))
    return row if isinstance(row, dict) else Refused(Reject.NOT_AN_OBJECT, "", f"is {_shown(row)}")


def _refused_in_context(event: dict[str, Any], now_ms: int, org_id: str | None) -> Refused | None:
    """What is wrong with fields that are right by themselves."""
    if event["ts"] > now_ms + FUTURE_MS_MAX:
        return Refused(Reject.TS_IN_FUTURE, "ts", f"is {event['ts'] - now_ms} ms ahead of the clock")
    if org_id is not None and event["org_id"] not in (None, org_id):
        return Refused(
            Reject.WRONG_ORGANISATION, "org_id", f"the key belongs to another than {_shown(event['org_id'])}"
        )
    if event["campaign_id"] is None and event["type"] != "lead":
        return Refused(Reject.MISSING_FIELD, "campaign_id", "is required except for leads")
    if event["lead"] is not None and event["type"] != "lead":
        return Refused(Reject.BAD_VALUE, "lead", "belongs to events of type lead only")
    return None


def decode_row(raw: bytes, *, now_ms: int, org_id: str | None = None) -> Event | Refused:
    """The event in one line of JSON, or why there is none; a reason for every code in `Reject`.

    With `org_id` (the collector's) the event gets that organisation and may not name another; without, its own counts.
    Empty strings of optional fields are absent. Unknown fields, those of `lead` too, are in `extra`.

    >>> decode_row(b'{"event_id":"e1","type":"click","ts":1.5}', now_ms=0)[:2]
    (<Reject.WRONG_TYPE: 'wrong_type'>, 'ts')
    """
    row = _parsed(raw)
    if isinstance(row, Refused):
        return row
    lead = row.get("lead")
    event: dict[str, Any] = {}
    for field, check in CHECKS.items():
        value = check(field, row.pop(field, None))
        if isinstance(value, Refused):
            return value
        event[field] = value
    refused = _refused_in_context(event, now_ms, org_id)
    if refused is not None:
        return refused
    event["org_id"] = org_id or event["org_id"] or DEFAULT_ORG
    if lead is not None and (unknown := {name: lead[name] for name in lead if name not in _KNOWN_IN_LEAD}):
        row["lead"] = unknown
    return Event(**event, extra=row or None)


def organisation_of(raw: bytes) -> str:
    """The organisation that a refused line names, as far as it can be read; DEFAULT_ORG else."""
    row = _parsed(raw)
    if isinstance(row, Refused):
        return DEFAULT_ORG
    named = _identifier("org_id", row.get("org_id"))
    return named if isinstance(named, str) else DEFAULT_ORG


_encoder = msgspec.json.Encoder()


def encode_event(event: Event) -> bytes:
    """The event as one canonical line of JSON, without a newline; `decode_row` gives the same event again.

    >>> encode_event(Event(event_id="e1", type="click", ts=946684800000, campaign_id="c"))
    b'{"event_id":"e1","type":"click","ts":946684800000,"org_id":"default","campaign_id":"c"}'
    """
    row: dict[str, Any] = {field: value for field in CHECKS if (value := getattr(event, field)) not in (None, 0)}
    extra = event.extra or {}
    if event.lead is not None:
        row["lead"] = {**msgspec.to_builtins(event.lead), **extra.get("lead", {})}
    row.update({field: extra[field] for field in sorted(extra) if field != "lead"})
    return _encoder.encode(row)
