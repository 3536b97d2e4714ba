"""The log of a history taken through the flow once more, from its beginning and without a break."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from schemas.decisions import Decision, decode_decision
from schemas.log import Log
from schemas.topics import CORRECTIONS_APPLIED, DECISIONS, EVENTS, ORDER
from tests.simulation.flow import FlowProcess, Recovery
from tests.simulation.plain import outcomes_in

if TYPE_CHECKING:
    from tests.simulation.world import World

_STEPS_MOST = 100_000


class ReadOnly:
    """A log that is read; what is appended is kept apart."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.appended: dict[str, list[bytes]] = {}

    def append(self, topic: str, partition: int, records: Sequence[bytes], *, keys: Sequence[str] | None = None) -> int:
        self.appended.setdefault(topic, []).extend(records)
        return 0

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Nobody's offset."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)


def replayed(world: World, log: Log) -> tuple[dict[str, Decision], dict[str, str]]:
    """Decisions by id, in the order of their sequence, and what became of corrections."""
    kept = ReadOnly(log)
    flow = FlowProcess(world.clock, world.rng_of("replay"), world.plan, lambda: kept, Recovery())  # type: ignore[arg-type,return-value]
    flow.journals = False
    flow.epoch_s = 1e9
    flow.log = kept  # type: ignore[assignment]
    flow.start()
    for part in flow.parts.values():
        number = part._partition
        for _ in range(_STEPS_MOST):
            flow.poll(part)
            done = part._opened and part._order.at_end() and part._place.events >= log.end(EVENTS, number)
            if done and part._place.order >= log.end(ORDER, number):
                break
    for lane in flow.sink.lanes():
        lane.write_next(10**9)
    found = [decode_decision(record) for record in kept.appended.get(DECISIONS, [])]
    decisions = {decision.decision_id: decision for decision in sorted(found, key=lambda one: one.sequence)}
    return decisions, outcomes_in(kept.appended.get(CORRECTIONS_APPLIED, []))
