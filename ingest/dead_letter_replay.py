"""Dead letters again: read them from the log, correct them, put them through admission once more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from ingest.admission import Admitted, admit
from ingest.letter_item import without_item
from schemas import topics
from schemas.dead_letters import DeadLetter
from schemas.log import Log
from schemas.unreadable import UNREADABLE

_READ_BYTES: Final = 1 << 20

_decoder: Final = msgspec.json.Decoder(DeadLetter)


class CorrectionError(Exception):
    """A letter that cannot be corrected or sent again like this; the message says what to do."""


def read_letters(log: Log) -> Iterator[DeadLetter]:
    """Every dead letter that the log still has, oldest first, each once; records that are none are left out."""
    offset, end = log.begin(topics.DEAD_LETTERS, 0), log.end(topics.DEAD_LETTERS, 0)
    seen: set[str] = set()
    while offset < end:
        chunk = log.read(topics.DEAD_LETTERS, 0, offset, _READ_BYTES, timeout_s=1.0)
        if chunk is None:
            return
        offset = chunk.next_offset
        for record in chunk.records():
            try:
                letter = _decoder.decode(record)
            except UNREADABLE:
                continue
            if letter.dead_letter_id not in seen:
                seen.add(letter.dead_letter_id)
                yield letter


def find_letter(letters: Sequence[DeadLetter], prefix: str) -> DeadLetter:
    """The letter whose id begins so; raises CorrectionError when there is none or more than one."""
    found = [letter for letter in letters if letter.dead_letter_id.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    said = "there is no dead letter" if not found else f"{len(found)} dead letters begin with"
    raise CorrectionError(f"{said} {prefix!r}")


def raw_of(letter: DeadLetter) -> bytes:
    """The refused record as it came; raises CorrectionError when it was too long to be kept whole."""
    raw = letter.raw.encode()
    if letter.raw_bytes > len(raw):
        raise CorrectionError(
            f"{letter.dead_letter_id}: only {len(raw)} of {letter.raw_bytes} bytes were kept; give the whole event"
        )
    return raw


def corrected(letter: DeadLetter, changes: Mapping[str, Any]) -> bytes:
    """The record with fields set, None taking one away; `lead.email` names a field inside `lead`.

    An event without event_id gets the letter's id, so that correcting it twice makes one event. Raises CorrectionError
    when the record is not a JSON object.
    """
    try:
        event = msgspec.json.decode(raw_of(letter))
    except msgspec.DecodeError as error:
        message = f"{letter.dead_letter_id} is not JSON ({error}); give the whole event in a file"
        raise CorrectionError(message) from error
    if not isinstance(event, dict):
        raise CorrectionError(f"{letter.dead_letter_id} is not an object; give the whole event in a file")
    for field, value in changes.items():
        _set(event, field.split("."), value)
    event.setdefault("event_id", letter.dead_letter_id)
    return msgspec.json.encode(event)


def readmit(log: Log, letter: DeadLetter, raw: bytes, *, now_ms: int) -> Admitted:
    """Put one event through admission under the letter's organisation; when it is accepted it is in the log.

    What is refused again is only returned: its letter is there already. Raises LogUnavailableError.
    """
    admitted = admit(
        without_item(raw).strip().replace(b"\r", b" ").replace(b"\n", b" "),
        org_id=letter.org_id,
        now_ms=now_ms,
        partitions=log.partitions(topics.EVENTS),
        source=letter.source,
    )
    for partition, records in admitted.records.items():
        log.append(topics.EVENTS, partition, records)
    return admitted


def _set(event: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        below = event.get(name)
        if not isinstance(below, dict):
            below = event[name] = {}
        event = below
    if value is None:
        event.pop(path[-1], None)
    else:
        event[path[-1]] = value
