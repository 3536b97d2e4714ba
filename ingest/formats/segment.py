"""Segment's and RudderStack's HTTP tracking API: `track` calls that the mapping names are events of ours."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ingest.formats.converted import Converted, FormatError, event_id_of, stable_id
from ingest.formats.items import check_depth, one_line, raw_items
from ingest.formats.mapper import Mapper
from schemas.dead_letters import Reject

# Calls by path: long names of the libraries, short ones of the script in pages.
CALLS: Final = {
    "track": "track", "t": "track", "page": "page", "p": "page", "screen": "screen", "identify": "identify",
    "i": "identify", "group": "group", "g": "group", "alias": "alias", "a": "alias",
}  # fmt: skip
BATCHES: Final = ("batch", "import")
# Where the calls are taken; the last is for what RudderStack's script sends as a page is left.
PATHS: Final = {f"/v1/{call}": call for call in (*CALLS, *BATCHES)} | {"/beacon/v1/batch": "batch"}
_KINDS: Final = frozenset(CALLS.values())


class _Batch(msgspec.Struct):
    batch: list[msgspec.Raw]
    context: msgspec.Raw = msgspec.Raw(b"{}")


class _Key(msgspec.Struct):
    writeKey: str | None = None  # noqa: N815 - Segment's name


_batch: Final = msgspec.json.Decoder(_Batch)
_key: Final = msgspec.json.Decoder(_Key)
_any: Final = msgspec.json.Decoder()


def key_in(body: bytes) -> str | None:
    """`writeKey` of a body, as pages send it, which may not set headers; None when there is none to be read."""
    try:
        check_depth(body)
        return _key.decode(body).writeKey
    except (FormatError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def convert(body: bytes, call: str, mapper: Mapper) -> Converted:
    """The calls of a body; `call` is the path's, such as `track` or `batch`. Raises FormatError."""
    converted = Converted()
    check_depth(body)
    if call not in BATCHES:
        item = one_line(body.strip())
        if (message := converted.object_of(1, item)) is not None:
            _put(converted, 1, item, {**message, "type": CALLS[call]}, mapper)
        return converted
    try:
        whole = _batch.decode(body)
        context = _any.decode(whole.context)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"The body is no batch: {error}.", "malformed_json") from None
    for number, item in enumerate(raw_items(whole.batch), start=1):
        if (message := converted.object_of(number, item)) is not None:
            _put(converted, number, item, _within(message, context), mapper)
    return converted


def _within(message: dict[str, Any], context: Any) -> dict[str, Any]:
    """The message with the context that its batch has for all."""
    own = message.get("context")
    if not isinstance(context, dict) or not context or not (own is None or isinstance(own, dict)):
        return message
    return {**message, "context": {**context, **(own or {})}}


def _put(converted: Converted, number: int, item: bytes, message: dict[str, Any], mapper: Mapper) -> None:
    kind = message.get("type")
    if kind is None:
        converted.refuse(number, item, Reject.MISSING_FIELD, "is required", "type")
        return
    if kind == "track":
        name = message.get("event")
        if not isinstance(name, str) or not name:
            reason = Reject.MISSING_FIELD if name in (None, "") else Reject.WRONG_TYPE
            converted.refuse(number, item, reason, "must be the event's name", "event")
            return
    else:
        # Not to be taken for an event of that name.
        name = f"${kind}"[:80] if kind in _KINDS else ""
    if (rule := mapper.rule(name)) is None:
        converted.ignored["not_mapped"] += 1
        return
    own_id = event_id_of(message.get("messageId"))
    # Without an id of its own, the same words are the same message: libraries always send one.
    mapper.put(converted, number, item, message, rule, own_id or stable_id(message))
