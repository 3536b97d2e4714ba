"""What bidders read, kept in the memory of the api: topics control and decisions, folded as for Redis."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from api.metrics import BAD_RECORDS
from schemas.log import Chunk, Log
from schemas.serving import Serving
from storage.serving_fold import ServingFold, ends
from storage.serving_schedule import at

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
    """The last state of every campaign; fed by `take`, read at any time.

    `spendable_micros` tells what a campaign may still spend, which only the dataflow knows. Dates and day parts of the
    definition are held against the clock whenever a state is read.
    """

    def __init__(
        self,
        spendable_micros: Callable[[str, str], int | None] = _unknown_spendable,
        now_ms: Callable[[], int] = _now_ms,
    ) -> None:
        self._fold = ServingFold(_bad)
        self._now_ms = now_ms
        self._states: dict[tuple[str, str], Serving] = {}
        self._spendable = spendable_micros

    def get(self, org_id: str, campaign_id: str) -> Serving | None:
        """The campaign's state; None when nothing was ever said of it."""
        state = self._states.get((org_id, campaign_id))
        return self._with_spendable(state) if state is not None else None

    def of_organisation(self, org_id: str) -> list[Serving]:
        """The states of all campaigns of an organisation, by campaign_id."""
        keys = sorted(key for key in self._states if key[0] == org_id)
        return [self._with_spendable(self._states[key]) for key in keys]

    @property
    def position(self) -> dict[str, int]:
        """How far each topic is folded in."""
        return dict(self._fold.offsets)

    def restore(self, saved: bytes, log: Log) -> bool:
        """Begin with what was kept of a run before; False when it is not of this log. Raises LogUnavailableError."""
        if not self._fold.restore(saved, log.identity(), ends(log)):
            return False
        self._states = {(state.org_id, state.campaign_id): state for state in self._fold.snapshot()}
        return True

    def saved(self, identity: str) -> bytes:
        """What to keep for `restore`: decisions expire with the log, what they decided does not."""
        return self._fold.saved(identity)

    def take(self, chunk: Chunk) -> None:
        """Fold in records of topic `control` or `decisions`."""
        for state in self._fold.take(chunk):
            self._states[state.org_id, state.campaign_id] = state

    def _with_spendable(self, state: Serving) -> Serving:
        spendable = self._spendable(state.org_id, state.campaign_id)
        state = msgspec.structs.replace(state, spendable_micros=spendable)
        return at(state, self._fold.schedule(state.org_id, state.campaign_id), self._now_ms())


def _bad(topic: str, error: Exception) -> None:
    BAD_RECORDS.labels(topic).inc()
    _log.warning("a record of topic %s was left out: %s", topic, error)
