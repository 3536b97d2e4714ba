"""What became of the items of a request or file: lines of our contract, refusals, and what is none of our business."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from schemas.dead_letters import Reject
from schemas.events import EVENT_BYTES_MAX, EVENT_ID_PATTERN
from schemas.nesting import NESTING_MAX, nests_too_deep

_EVENT_ID: Final = re.compile(EVENT_ID_PATTERN.removeprefix("^").removesuffix("$"))
# 160 bits: among 10^12 events none meets another.
_ID_BYTES: Final = 20
_decoder: Final = msgspec.json.Decoder()


# Of lines and items of one request together: four times what any format's body may have. Names of columns and
# attributes are repeated in each line, so that a small body can be a large one of ours.
CONVERTED_BYTES_MAX: Final = 32 * 2**20


class FormatError(ValueError):
    """A request or file of which nothing can be read; the message says why, `code` says it to programs."""

    def __init__(self, message: str, code: str = "unreadable") -> None:
        super().__init__(message)
        self.code = code


class TooManyError(FormatError):
    """More items, cells or bytes than a request takes."""

    def __init__(self, message: str, code: str = "too_many_lines") -> None:
        super().__init__(message, code)


class BadItem(NamedTuple):
    """An item that is no event: its number from 1, as it came, and why."""

    number: int
    item: bytes
    reason: Reject
    field: str
    detail: str


@dataclass(slots=True)
class Converted:
    """Items of one request in their order. Whatever can be an object becomes a line, so that one admission judges."""

    lines: list[bytes] = field(default_factory=list)
    # Of each line: its item's number, and the item as it came.
    numbers: list[int] = field(default_factory=list)
    items: list[bytes] = field(default_factory=list)
    refused: list[BadItem] = field(default_factory=list)
    # Accepted and not recorded, by reason: not named by the mapping, or of no campaign.
    ignored: Counter[str] = field(default_factory=Counter)
    # Recorded without their cost or revenue, which their sender may not say.
    without_money: int = 0
    _bytes: int = 0

    def take(self, number: int, item: bytes, event: dict[str, Any]) -> None:
        """The item is this event, as far as we know."""
        line = msgspec.json.encode(event)
        self._count(len(line) + len(item))
        self.lines.append(line)
        self.numbers.append(number)
        self.items.append(item)

    def refuse(self, number: int, item: bytes, reason: Reject, detail: str, field_name: str = "") -> None:
        """The item is no event."""
        self._count(len(item))
        self.refused.append(BadItem(number, item, reason, field_name, detail))

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > CONVERTED_BYTES_MAX:
            detail = f"As events the request has more than {CONVERTED_BYTES_MAX} bytes; send several."
            raise TooManyError(detail, "too_large")

    def object_of(self, number: int, item: bytes) -> dict[str, Any] | None:
        """The item's members; None, and refused, when it is no JSON object or larger than an event may be."""
        if len(item) > EVENT_BYTES_MAX:
            self.refuse(number, item, Reject.TOO_LARGE, f"is {len(item)} bytes long, more than {EVENT_BYTES_MAX}")
            return None
        if nests_too_deep(item):
            self.refuse(number, item, Reject.BAD_VALUE, f"nests deeper than {NESTING_MAX}")
            return None
        try:
            value = _decoder.decode(item)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.refuse(number, item, Reject.MALFORMED_JSON, str(error))
            return None
        if not isinstance(value, dict):
            self.refuse(number, item, Reject.NOT_AN_OBJECT, "is not an object")
            return None
        return value


def stable_id(*parts: Any) -> str:
    """An event id that follows from the parts alone, so that what is sent again is a duplicate.

    >>> stable_id("a", 1) == stable_id("a", 1), stable_id("a", "1") == stable_id("a", 1), len(stable_id())
    (True, False, 42)
    """
    canonical = msgspec.json.encode(parts, order="deterministic")
    return f"h:{hashlib.blake2b(canonical, digest_size=_ID_BYTES).hexdigest()}"


def event_id_of(given: Any, *within: Any) -> str | None:
    """The id itself where it may be one of ours, else one that follows from it and what it is `within`; None for none.

    >>> event_id_of("m-1"), event_id_of("a b")[:2], event_id_of(None)
    ('m-1', 'h:', None)
    """
    if given is None or given == "":
        return None
    if isinstance(given, str) and _EVENT_ID.fullmatch(given):
        return given
    return stable_id(given, *within)
