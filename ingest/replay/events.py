"""Lines of recorded files as events: read, renamed, moved in time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from ingest.replay.lines import BadLine, Line
from ingest.replay.order import Timed
from schemas.decode.instants import rfc3339_ms

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder()


def read_json_event(line: bytes) -> dict[str, Any]:
    """An event on the wire with `ts` in milliseconds. Raises ValueError with the reason; other fields are not checked.

    >>> read_json_event(b'{"ts":"1970-01-01T00:00:01Z"}')
    {'ts': 1000}
    """
    try:
        event = _decoder.decode(line)
    except msgspec.DecodeError as error:
        raise ValueError(f"is not JSON: {error}") from error
    if not isinstance(event, dict):
        raise ValueError("is not a JSON object")
    event["ts"] = _instant_ms(event.get("ts"))
    return event


def _instant_ms(ts: Any) -> int:
    if isinstance(ts, str):
        ts = rfc3339_ms(ts)
    if not isinstance(ts, int) or isinstance(ts, bool):
        raise ValueError("has no ts in milliseconds or RFC 3339 with a zone")
    return ts


def timed_events(
    lines: Iterable[Line | BadLine],
    read: Callable[[bytes], dict[str, Any]],
    *,
    campaign_prefix: str,
    report: Callable[[BadLine], None],
) -> Iterator[Timed]:
    """The events of the lines; what is no event is reported. `campaign_prefix` goes before every campaign id."""
    for line in lines:
        if isinstance(line, BadLine):
            report(line)
            continue
        try:
            event = read(line.content)
        except ValueError as error:
            report(BadLine(line.path, line.number, str(error)))
            continue
        if campaign_prefix and event.get("campaign_id") is not None:
            event["campaign_id"] = f"{campaign_prefix}{event['campaign_id']}"
        yield Timed(event["ts"], _encoder.encode(event))


def shifted(event: Timed, shift_ms: int) -> Timed:
    """The event moved in time.

    >>> shifted(Timed(5, b'{"ts":5}'), 10)
    Timed(ts_ms=15, record=b'{"ts":15}')
    """
    if shift_ms == 0:
        return event
    moved = _decoder.decode(event.record)
    moved["ts"] = event.ts_ms + shift_ms
    return Timed(event.ts_ms + shift_ms, _encoder.encode(moved))
