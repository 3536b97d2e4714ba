"""Admission: which of a sender's lines become events of the log, where they go, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from schemas.batch import EventBatch
from schemas.dead_letters import DeadLetter, Reject, dead_letter
from schemas.decode import decode_chunk
from schemas.events import DEFAULT_ORG, EVENT_BYTES_MAX
from schemas.log import Chunk
from schemas.topics import partition_of

# Stands in for a topic while the lines have no log position yet.
_SOURCE: Final = "http"


@dataclass(frozen=True, slots=True)
class Refused:
    """One line that is no event: its number from 1, and the letter that keeps it."""

    line: int
    letter: DeadLetter


@dataclass(slots=True)
class Admitted:
    """Records of topic `events` by partition, in the sender's order, and what was refused."""

    org_id: str = DEFAULT_ORG
    records: dict[int, list[bytes]] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    # Of the refused, those that are kept nowhere, as the organisation has used up its room for dead letters.
    letters_dropped: int = 0
    # Items of other formats that are no events of ours: taken, and not recorded.
    ignored: int = 0

    @property
    def accepted(self) -> int:
        """How many lines became events."""
        return sum(map(len, self.records.values()))


@dataclass(frozen=True, slots=True)
class Rules:
    """What a sender may send beyond what any event may be."""

    # Why events of a campaign are refused, None when they are not; asked once a campaign and request.
    campaign: Callable[[str], tuple[Reject, str] | None] = lambda _: None
    # May its events carry cost_micros and revenue_micros?
    money: bool = True


_NO_RULES: Final = Rules()


class _Envelope(msgspec.Struct):
    event_id: str
    org_id: str | None = None


_envelope: Final = msgspec.json.Decoder(_Envelope)
_letter_encoder: Final = msgspec.json.Encoder()


def admit(
    payload: bytes, *, org_id: str, now_ms: int, partitions: int, source: str, rules: Rules = _NO_RULES
) -> Admitted:
    """Admit the lines of a request: one event a line, blank lines skipped.

    Events get the organisation; a line that names another is refused. `source` names the request in dead letters,
    whose position is its line. Reasons are those of `schemas.decode.decode_row` and of the rules.
    """
    if payload and not payload.endswith(b"\n"):
        payload += b"\n"
    decoded = decode_chunk(Chunk(_SOURCE, 0, payload, 0, len(payload)), now_ms=now_ms, org_id=org_id)
    request = _Request(payload, org_id, now_ms, source)
    admitted = Admitted(org_id)
    for letter in decoded.dead:
        position = int(letter.source.rpartition("@")[2])
        admitted.refused.append(request.refuse(position, Reject(letter.reason), letter.field, letter.detail))
    batch = _by_rules(admitted, request, decoded.batch, rules)
    _place(admitted, request, batch, partitions)
    admitted.refused.sort(key=lambda refused: refused.line)
    return admitted


def encode_letter(letter: DeadLetter) -> bytes:
    """The bytes of one record of topic `events.dlq`."""
    return _letter_encoder.encode(letter)


def with_org(line: bytes, org_id: str) -> bytes:
    """The event with its organisation, which is left out where it is DEFAULT_ORG.

    It is put last, where it wins over an `org_id` of null or one spelt with escapes.

    >>> with_org(b'{"event_id":"e"}', "acme")
    b'{"event_id":"e","org_id":"acme"}'
    """
    if org_id == DEFAULT_ORG:
        return line
    if b'"org_id"' in line and _envelope.decode(line).org_id == org_id:
        return line
    return b'%b,"org_id":%b}' % (line.rstrip()[:-1], msgspec.json.encode(org_id))


@dataclass(slots=True)
class _Request:
    """The lines of one request, found by position."""

    payload: bytes
    org_id: str
    now_ms: int
    source: str
    _position: int = 0
    _number: int = 1

    def line(self, position: int) -> bytes:
        return self.payload[position : self.payload.index(b"\n", position)]

    def number(self, position: int) -> int:
        """The line's number from 1; counted on from the last one asked for, as positions mostly rise."""
        if position < self._position:
            self._position, self._number = 0, 1
        self._number += self.payload.count(b"\n", self._position, position)
        self._position = position
        return self._number

    def refuse(self, position: int, reason: Reject, field_name: str, detail: str) -> Refused:
        number = self.number(position)
        source = f"{self.source}:{number}"
        letter = dead_letter(
            self.line(position), reason, field_name, detail, source=source, org_id=self.org_id, ts_ms=self.now_ms
        )
        return Refused(number, letter)


def _by_rules(admitted: Admitted, request: _Request, batch: EventBatch, rules: Rules) -> EventBatch:
    """The events that the rules let through; the others are refused."""
    of_code = [rules.campaign(name) for name in _campaigns(batch)]
    campaign = batch.series.campaign_of(batch.series_code)
    kept = np.array([verdict is None for verdict in of_code], dtype=np.bool_)[campaign]
    for position, code in zip(batch.position[~kept].tolist(), campaign[~kept].tolist(), strict=True):
        if (verdict := of_code[code]) is not None:
            admitted.refused.append(request.refuse(position, verdict[0], "campaign_id", verdict[1]))
    if not rules.money:
        for name, column in (("cost_micros", batch.cost_micros), ("revenue_micros", batch.revenue_micros)):
            rows = kept & (column != 0)
            kept &= ~rows
            detail = "is not taken from this sender; send it with a full key, or allow the write key costs"
            for position in batch.position[rows].tolist():
                admitted.refused.append(request.refuse(position, Reject.COST_NOT_ALLOWED, name, detail))
    return batch if kept.all() else batch.take(kept)


def _campaigns(batch: EventBatch) -> list[str]:
    """Ids of campaigns by code; all are of one organisation."""
    return [batch.series.campaign_key(code)[1] for code in range(int(batch.series.marks[1]))]


def _place(admitted: Admitted, request: _Request, batch: EventBatch, partitions: int) -> None:
    """Cut the events out of the payload and put each into the partition of its campaign."""
    home = [partition_of(name, partitions) if name else None for name in _campaigns(batch)]
    campaign = batch.series.campaign_of(batch.series_code)
    for position, code in zip(batch.position.tolist(), campaign.tolist(), strict=True):
        line = request.line(position)
        partition = home[code]
        if partition is None:
            # A lead of no campaign: its event id spreads it.
            partition = partition_of(_envelope.decode(line).event_id, partitions)
        record = with_org(line, request.org_id)
        if len(record) <= EVENT_BYTES_MAX:
            admitted.records.setdefault(partition, []).append(record)
            continue
        detail = f"is {len(record)} bytes long with its organisation, more than {EVENT_BYTES_MAX}"
        admitted.refused.append(request.refuse(position, Reject.TOO_LARGE, "", detail))
