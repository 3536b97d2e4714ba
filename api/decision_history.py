"""The newest decisions, in memory and in the order in which they were taken; older ones come from ClickHouse when that
is wired."""

from __future__ import annotations

import logging
from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import Final, Protocol

from api.metrics import BAD_RECORDS
from schemas import topics
from schemas.decisions import Decision, decode_decision
from schemas.log import Chunk
from schemas.unreadable import UNREADABLE

_log = logging.getLogger(__name__)

# Of all organisations, about 1 kB each in memory.
DECISIONS_MAX: Final = 50_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which decisions: those of one organisation behind a place in the order, newest first."""

    org_id: str
    campaign_id: str | None = None
    kind: str | None = None
    # Exclusive: `Decision.place` of the last one already seen.
    before: tuple[int, str] | None = None
    limit: int = 100

    def takes(self, decision: Decision) -> bool:
        """Does the decision fit, whatever its place?"""
        return (
            decision.org_id == self.org_id
            and (self.campaign_id is None or decision.campaign_id == self.campaign_id)
            and (self.kind is None or decision.kind == self.kind)
        )


class DecisionArchive(Protocol):
    """Decisions that memory no longer holds. Blocking; raises api.problems.Problem when it is away."""

    def find(self, wanted: Wanted) -> list[Decision]:
        """Decisions by `Decision.place`, newest first."""
        ...

    def get(self, org_id: str, decision_id: str) -> Decision | None:
        """One decision."""
        ...


class DecisionHistory:
    """The newest decisions by `Decision.place`; when it is full, whoever has most goes without its oldest."""

    def __init__(self, size: int = DECISIONS_MAX) -> None:
        self._size = size
        self._orders: dict[str, list[tuple[int, str]]] = {}
        self._by_id: dict[tuple[str, str], Decision] = {}
        # Some were dropped: what is not here may be in the archive.
        self.overflowed = False

    def __len__(self) -> int:
        return len(self._by_id)

    def take(self, chunk: Chunk) -> None:
        """Take in records of topic `decisions`."""
        for raw in chunk.records():
            try:
                self.put(decode_decision(raw))
            except UNREADABLE as error:
                BAD_RECORDS.labels(topics.DECISIONS).inc()
                _log.warning("a decision was left out: %s", error)

    def put(self, decision: Decision) -> None:
        """Take in one decision; one that comes again after a restart of the flow changes nothing."""
        key = (decision.org_id, decision.decision_id)
        if key in self._by_id:
            return
        self._by_id[key] = decision
        insort(self._orders.setdefault(decision.org_id, []), decision.place)
        if len(self._by_id) > self._size:
            self.overflowed = True
            self._drop_some()

    def _drop_some(self) -> None:
        org_id, order = max(self._orders.items(), key=lambda item: len(item[1]))
        # In slices: each removal at the front moves the whole list.
        dropped = max(1, min(self._size, len(order)) // 100)
        for _, decision_id in order[:dropped]:
            del self._by_id[org_id, decision_id]
        del order[:dropped]
        if not order:
            del self._orders[org_id]

    def get(self, org_id: str, decision_id: str) -> Decision | None:
        """One decision of the organisation, when it is still here."""
        return self._by_id.get((org_id, decision_id))

    def find(self, wanted: Wanted) -> list[Decision]:
        """At most `limit` decisions that fit, newest first."""
        order = self._orders.get(wanted.org_id, [])
        end = len(order) if wanted.before is None else bisect_left(order, wanted.before)
        found: list[Decision] = []
        for place in range(end - 1, -1, -1):
            decision = self._by_id[wanted.org_id, order[place][1]]
            if wanted.takes(decision):
                found.append(decision)
                if len(found) == wanted.limit:
                    break
        return found
