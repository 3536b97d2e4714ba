"""What bidders read, kept in the memory of the api from topic `serving`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from api.metrics import BAD_RECORDS
from schemas.campaigns import CampaignStatus
from schemas.control import CampaignRecord, ControlRecord, OverrideRecord, decode_control
from schemas.decisions import Reason
from schemas.log import Chunk
from schemas.serving import Serving, at, decode_serving
from schemas.unreadable import UNREADABLE
from storage import serving as storage

_log = logging.getLogger(__name__)


class ServingReader(Protocol):
    """Reads the serving state of campaigns."""

    def get(self, org_id: str, campaign_id: str) -> Serving | None:
        """The campaign's state; None when nothing was ever said of it."""
        ...

    def of_organisation(self, org_id: str) -> list[Serving]:
        """The states of all campaigns of an organisation, by campaign_id."""
        ...


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _unknown_spendable(_org_id: str, _campaign_id: str) -> int | None:
    return None


class MemoryServing:
    """The newest word on every campaign, fed by `take`, read at any time.

    Whenever a state is read it is held against what is known beside the topic: dates and day parts against the clock;
    what `spendable_micros` tells of live rows, which are newer; a person's pause that the dataflow has not answered,
    from topic `control`: it holds while the dataflow is away.
    """

    def __init__(
        self,
        spendable_micros: Callable[[str, str], int | None] = _unknown_spendable,
        now_ms: Callable[[], int] = _now_ms,
    ) -> None:
        self._states = storage.MemoryServing()
        self._now_ms = now_ms
        self._spendable = spendable_micros
        # Versions of definitions that are not active, and of people's pauses; no more than there are campaigns.
        self._stopped: dict[tuple[str, str], int] = {}
        self._paused: dict[tuple[str, str], int] = {}

    def get(self, org_id: str, campaign_id: str) -> Serving | None:
        """The campaign's state; None when nothing was ever said of it."""
        state = self._states.get(org_id, campaign_id)
        return None if state is None else self._now(state)

    def of_organisation(self, org_id: str) -> list[Serving]:
        """The states of all campaigns of an organisation, by campaign_id."""
        return [self._now(state) for state in self._states.of_organisation(org_id)]

    def take(self, chunk: Chunk) -> None:
        """Take in records of topic `serving`."""
        for raw in chunk.records():
            try:
                self._states.put([decode_serving(raw)])
            except UNREADABLE as error:
                _bad(chunk.topic, error)

    def take_control(self, chunk: Chunk) -> None:
        """Take in what people said of topic `control`."""
        for raw in chunk.records():
            try:
                self._hear(decode_control(raw))
            except UNREADABLE as error:
                _bad(chunk.topic, error)

    def _hear(self, record: ControlRecord) -> None:
        key = record.org_id, record.campaign_id
        if isinstance(record, CampaignRecord):
            _note(self._stopped, key, record.version, holds=record.definition().status is not CampaignStatus.ACTIVE)
        elif isinstance(record, OverrideRecord) and record.action in ("pause", "resume", "lift"):
            _note(self._paused, key, record.version, holds=record.action == "pause")

    def _now(self, state: Serving) -> Serving:
        key = state.org_id, state.campaign_id
        told = self._spendable(*key)
        if told is not None and (state.spendable_micros is None or told < state.spendable_micros):
            state = msgspec.structs.replace(state, spendable_micros=told)
        is_held = self._stopped.get(key, 0) > state.version or self._paused.get(key, 0) > state.override_version
        if is_held and not state.paused:
            state = msgspec.structs.replace(state, paused=True, pause_reason=Reason.PAUSED_BY_PERSON.value)
        return at(state, self._now_ms())


def _note(holds_from: dict[tuple[str, str], int], key: tuple[str, str], version: int, *, holds: bool) -> None:
    if holds:
        holds_from[key] = max(version, holds_from.get(key, 0))
    elif version > holds_from.get(key, 0):
        holds_from.pop(key, None)


def _bad(topic: str, error: Exception) -> None:
    BAD_RECORDS.labels(topic).inc()
    _log.warning("a record of topic %s was left out: %s", topic, error)
