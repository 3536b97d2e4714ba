"""What a dead letter keeps beside the event: the item of another format that it was made of."""

from __future__ import annotations

from typing import Final

import msgspec

from schemas.dead_letters import RAW_BYTES_MAX

# Left out again when the letter is sent once more.
ITEM_FIELD: Final = "_item"
_MARK: Final = b',"_item":'


def with_item(line: bytes, item: bytes) -> bytes:
    """The event with its item, if a letter has room for both.

    >>> with_item(b'{"type":"click"}', b'{"e":"se"}')
    b'{"type":"click","_item":{"e":"se"}}'
    """
    whole = b"%b%b%b}" % (line[:-1], _MARK, item)
    return whole if len(whole) <= RAW_BYTES_MAX else line


def without_item(raw: bytes) -> bytes:
    """The event alone.

    >>> without_item(b'{"type":"click","_item":{"e":"se"}}'), without_item(b'{"type":"click"}')
    (b'{"type":"click"}', b'{"type":"click"}')
    """
    if b'"_item"' not in raw:
        return raw
    try:
        event = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return raw
    if not isinstance(event, dict) or ITEM_FIELD not in event:
        return raw
    del event[ITEM_FIELD]
    return msgspec.json.encode(event)
