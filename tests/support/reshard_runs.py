"""A history in two halves, with the order that an undisturbed flow gave it: others decide where that one did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from schemas.log import Log
from schemas.topics import EVENTS, ORDER
from tests.support import flow_runs

LINES = 6_000
SEED = 7
_TOPICS = (EVENTS, ORDER)


@dataclass(frozen=True)
class Undisturbed:
    """The log of a flow that stopped once and went on as it was, and how many records it had read when it stopped."""

    log: Log
    stopped: dict[tuple[str, int], int]

    @classmethod
    def made(cls, log: Log, run: Callable[[], None]) -> Undisturbed:
        """Let `run` read the first half, then the second."""
        flow_runs.define_all(log, 400_000)
        lines = list(flow_runs.event_lines(LINES, SEED))
        flow_runs.fill(log, iter(lines[: LINES // 2]))
        run()
        stopped = {(topic, p): len(flow_runs.records(log, topic, p)) for topic in _TOPICS for p in _partitions(log)}
        flow_runs.fill(log, iter(lines[LINES // 2 :]))
        run()
        return cls(log, stopped)

    def begin(self, log: Log) -> None:
        """Give another log what there was at the stop."""
        for (topic, partition), count in self.stopped.items():
            log.append(topic, partition, flow_runs.records(self.log, topic, partition)[:count])

    def go_on(self, log: Log) -> None:
        """Give it the rest."""
        for (topic, partition), count in self.stopped.items():
            log.append(topic, partition, flow_runs.records(self.log, topic, partition)[count:])

    def outcome(self) -> tuple[object, ...]:
        """What readers have in the end."""
        return outcome(self.log)


def _partitions(log: Log) -> range:
    return range(log.partitions(EVENTS))


def outcome(log: Log) -> tuple[object, ...]:
    """What readers have in the end."""
    return flow_runs.decisions(log), flow_runs.windows(log), flow_runs.judged(log), flow_runs.dead_letter_ids(log)
