"""GA4 Measurement Protocol: a body of one client's events, of which the mapping names ours."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec

from ingest.formats.converted import Converted, FormatError, stable_id
from ingest.formats.items import check_depth, one_line, raw_items
from ingest.formats.mapper import Mapper
from schemas.dead_letters import Reject

_any: Final = msgspec.json.Decoder()
_events: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array: Final = msgspec.json.Decoder(list[msgspec.Raw])


def convert(body: bytes, measurement_id: str, mapper: Mapper) -> Converted:
    """The events of a body, what is said of all of them filled into each; raises FormatError."""
    check_depth(body)
    try:
        members = _events.decode(body)
        found = raw_items(_array.decode(members.pop("events", b"null")))
        of_all = {name: _any.decode(value) for name, value in members.items()}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"The body is no measurement: {error}.", "malformed_json") from None
    of_all["measurement_id"] = measurement_id
    converted = Converted()
    seen: Counter[str] = Counter()
    for number, item in enumerate(found, start=1):
        if (event := converted.object_of(number, item)) is not None:
            _put(converted, number, one_line(item), of_all | event, seen, mapper)
    return converted


def _put(
    converted: Converted, number: int, item: bytes, event: dict[str, Any], seen: Counter[str], mapper: Mapper
) -> None:
    name = event.get("name")
    if not isinstance(name, str) or not name:
        reason = Reject.MISSING_FIELD if name in (None, "") else Reject.WRONG_TYPE
        converted.refuse(number, item, reason, "must be the event's name", "name")
        return
    if (rule := mapper.rule(name)) is None:
        converted.ignored["not_mapped"] += 1
        return
    client = event.get("client_id") or event.get("app_instance_id") or event.get("user_id")
    own_id = stable_id(client, name, event.get("timestamp_micros"), event.get("params"))
    seen[own_id] += 1
    if (times := seen[own_id]) > 1:
        # Twice in one body is meant twice; a retry has both in the same order.
        own_id = stable_id(own_id, times)
    mapper.put(converted, number, item, event, rule, own_id)
