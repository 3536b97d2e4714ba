"""Snowplow tracker protocol v2: events of GET /i and POST tp2, of which the mapping names ours."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from ingest.formats.converted import Converted, FormatError, event_id_of, stable_id
from ingest.formats.items import check_depth, one_line, raw_items
from ingest.formats.mapper import Mapper
from schemas.dead_letters import Reject
from schemas.nesting import nests_too_deep

# What a page's address may have of parameters; more are an attack.
_PARAMETERS_MAX: Final = 100
# Of which event an amount is the cost, and what a thousand of a name cost.
_COST_OF: Final = {"ad_impression": ("cpm", 1_000), "ad_click": ("cpc", 1), "ad_conversion": ("cpa", 1)}


class _Payload(msgspec.Struct):
    data: list[msgspec.Raw]


class _Aid(msgspec.Struct):
    aid: str | None = None


class _Aids(msgspec.Struct):
    data: list[_Aid] = []


_payload: Final = msgspec.json.Decoder(_Payload)
_aids: Final = msgspec.json.Decoder(_Aids)
_any: Final = msgspec.json.Decoder()


def key_in(body: bytes) -> str | None:
    """`aid` of a body's first event: a tracker can be told no key but its application's id; None without one."""
    try:
        check_depth(body)
        found = _aids.decode(body).data
    except (FormatError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found[0].aid if found else None


def from_body(body: bytes, seen_by_us: Mapping[str, str], mapper: Mapper) -> Converted:
    """The events of a POST; `seen_by_us` is the visitor's address and browser where the tracker says none."""
    check_depth(body)
    try:
        found = raw_items(_payload.decode(body).data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"The body is no payload_data: {error}.", "malformed_json") from None
    converted = Converted()
    for number, item in enumerate(found, start=1):
        if (event := converted.object_of(number, item)) is not None:
            _put(converted, number, one_line(item), {**seen_by_us, **event}, mapper)
    return converted


def from_query(query: Mapping[str, str], seen_by_us: Mapping[str, str], mapper: Mapper) -> Converted:
    """The one event of a GET."""
    converted = Converted()
    item = msgspec.json.encode(dict(query))
    if converted.object_of(1, item) is not None:
        _put(converted, 1, item, {**seen_by_us, **query}, mapper)
    return converted


def _put(converted: Converted, number: int, item: bytes, event: dict[str, Any], mapper: Mapper) -> None:
    kind = event.get("e")
    if not isinstance(kind, str) or not kind:
        converted.refuse(number, item, Reject.MISSING_FIELD, "must be the event's kind", "e")
        return
    names: tuple[str, ...] = (kind,)
    if kind == "ue":
        described = _self_described(event)
        if described is None:
            detail = "is no self-describing event: JSON in ue_pr, or base64url of it in ue_px"
            converted.refuse(number, item, Reject.BAD_VALUE, detail, "ue_pr")
            return
        name, event["data"] = described
        names = (name,)
        event["ad_cost"] = _cost(name, event["data"])
    elif kind == "se":
        category, action = event.get("se_ca"), event.get("se_ac")
        names = (f"se:{category}:{action}", f"se:{action}", "se")
    if (rule := mapper.rule(*names)) is None:
        converted.ignored["not_mapped"] += 1
        return
    event["url_query"] = _parameters(event.get("url"))
    own_id = event_id_of(event.get("eid")) or stable_id(item.decode())
    mapper.put(converted, number, item, event, rule, own_id)


def _self_described(event: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Vendor/name and data of the event inside (Iglu: `iglu:vendor/name/jsonschema/1-0-0`)."""
    text, packed = event.get("ue_pr"), event.get("ue_px")
    try:
        if isinstance(packed, str) and packed:
            text = urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).decode()
        if not isinstance(text, str) or nests_too_deep(text.encode()):
            return None
        inner = _any.decode(text)["data"]
        schema, data = inner["schema"], inner["data"]
    except (ValueError, binascii.Error, KeyError, TypeError):
        return None
    if not isinstance(schema, str) or not isinstance(data, dict):
        return None
    parts = schema.removeprefix("iglu:").split("/")
    return "/".join(parts[:2]), data


def _cost(name: str, data: Mapping[str, Any]) -> float | None:
    """Units that this one event costs, None where its cost model charges for another.

    >>> [_cost("v/ad_impression", {"cost": 5, "costModel": model}) for model in ("cpm", "cpc")]
    [0.005, None]
    """
    model, divisor = _COST_OF.get(name.rpartition("/")[2], (None, 1))
    cost = data.get("cost")
    if model is None or data.get("costModel") != model or isinstance(cost, bool) or not isinstance(cost, int | float):
        return None
    return cost / divisor


def _parameters(url: Any) -> dict[str, str]:
    if not isinstance(url, str):
        return {}
    try:
        return dict(parse_qsl(urlsplit(url).query, max_num_fields=_PARAMETERS_MAX))
    except ValueError:
        return {}
