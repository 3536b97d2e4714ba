"""CloudEvents 1.0 over HTTP: structured, batch, binary. `data` is an event of ours; attributes fill what it lacks."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from ingest.formats.converted import Converted, FormatError, stable_id
from ingest.formats.items import items_of
from schemas.dead_letters import Reject
from schemas.events import EventType

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
SPECVERSION_HEADER: Final = "ce-specversion"
_TYPES: Final = frozenset(kind.wire for kind in EventType)
_REQUIRED: Final = ("id", "source", "type")


def from_json(body: bytes, *, batch: bool = False) -> Converted:
    """One event, or an array of them (JSON event format, sections 3 and 4); raises FormatError."""
    if batch != body.lstrip().startswith(b"["):
        raise FormatError(f"{BATCH} is an array of events, {STRUCTURED} is one event.")
    converted = Converted()
    for number, item in enumerate(items_of(body), start=1):
        if (cloud := converted.object_of(number, item)) is not None:
            _take(converted, number, item, cloud)
    return converted


def from_binary(headers: Mapping[str, str], body: bytes) -> Converted:
    """Attributes in headers `ce-...`, the data as body (HTTP protocol binding, section 3.1)."""
    cloud: dict[str, Any] = {
        # Section 3.1.3.2: values are percent-encoded.
        name.lower()[3:]: unquote(value)
        for name, value in headers.items()
        if name.lower().startswith("ce-")
    }
    cloud["datacontenttype"] = headers.get("content-type", "")
    converted = Converted()
    data = converted.object_of(1, body.strip()) if _must_be_json(converted, 1, body, cloud) else None
    if data is not None:
        cloud["data"] = data
        _take(converted, 1, body.strip().replace(b"\r", b" ").replace(b"\n", b" "), cloud)
    return converted


def _take(converted: Converted, number: int, item: bytes, cloud: dict[str, Any]) -> None:
    if (version := cloud.get("specversion")) != "1.0":
        detail = "is required" if version is None else f"must be 1.0, is {str(version)[:20]!r}"
        reason = Reject.MISSING_FIELD if version is None else Reject.BAD_VALUE
        converted.refuse(number, item, reason, detail, "specversion")
        return
    for name in _REQUIRED:
        if not isinstance(value := cloud.get(name), str) or not value:
            reason = Reject.MISSING_FIELD if value in (None, "") else Reject.WRONG_TYPE
            converted.refuse(number, item, reason, "must be a text that is not empty", name)
            return
    if not _must_be_json(converted, number, item, cloud):
        return
    if (data := _data(converted, number, item, cloud)) is not None:
        converted.take(number, item, _filled(data, cloud))


def _must_be_json(converted: Converted, number: int, item: bytes, cloud: dict[str, Any]) -> bool:
    """Is the data said to be JSON? So it is where nothing is said."""
    media_type = str(cloud.get("datacontenttype") or "application/json").partition(";")[0].strip().lower()
    if media_type in ("application/json", "text/json") or media_type.endswith("+json"):
        return True
    detail = f"must be application/json, is {media_type[:80]!r}"
    converted.refuse(number, item, Reject.BAD_VALUE, detail, "datacontenttype")
    return False


def _data(converted: Converted, number: int, item: bytes, cloud: dict[str, Any]) -> dict[str, Any] | None:
    packed = cloud.get("data_base64")
    if packed is not None:
        try:
            content = b64decode(packed, validate=True)
        except (TypeError, ValueError, binascii.Error):
            converted.refuse(number, item, Reject.BAD_VALUE, "is not base64", "data_base64")
            return None
        return converted.object_of(number, content)
    data = cloud.get("data")
    if data is None:
        converted.refuse(number, item, Reject.MISSING_FIELD, "is required", "data")
    elif not isinstance(data, dict):
        converted.refuse(number, item, Reject.NOT_AN_OBJECT, "must be an event", "data")
    else:
        return data
    return None


def _filled(data: dict[str, Any], cloud: dict[str, Any]) -> dict[str, Any]:
    event = dict(data)
    if event.get("event_id") is None:
        # Core, section 3.1.1: source and id together are unique, the id alone is not.
        event["event_id"] = stable_id(cloud["source"], cloud["id"])
    if event.get("ts") is None and cloud.get("time") is not None:
        event["ts"] = cloud["time"]
    if event.get("type") is None:
        event["type"] = _type(cloud["type"])
    return event


def _type(given: str) -> str:
    """Ours, of the last part of names such as `com.example.ad.click`; another stays, and is refused.

    >>> _type("com.example.ad.click"), _type("click"), _type("com.example.view")
    ('click', 'click', 'com.example.view')
    """
    last = given.rpartition(".")[2].lower()
    return last if last in _TYPES else given


def encode(event: Mapping[str, Any], *, source: str) -> bytes:
    """An event of ours as a structured CloudEvent.

    >>> cloud = encode({"event_id": "e1", "type": "click", "ts": 5, "campaign_id": "c"}, source="/shop")
    >>> from_json(cloud).lines
    [b'{"event_id":"e1","type":"click","ts":5,"campaign_id":"c"}']
    """
    cloud = {"specversion": "1.0", "id": event["event_id"], "source": source, "type": event["type"]}
    return msgspec.json.encode({**cloud, "datacontenttype": "application/json", "data": event})
