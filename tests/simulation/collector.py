"""`penstock api`'s collector: admission, group commit, the answer. And the senders in front of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from random import Random

from ingest.admission import admit, encode_letter
from ingest.group_commit import GroupCommit, _Queue
from schemas.log import Log, LogUnavailableError
from schemas.topics import DEAD_LETTERS, EVENTS
from tests.simulation.clock import SimClock
from tests.simulation.plan import Batch
from tests.simulation.process import Process


class SteppedCommit(GroupCommit):
    """Group commit whose threads are the turns of the collector."""

    def write_next(self, key: tuple[str, int]) -> None:
        """One append for what waits for a partition."""
        self._write_next(*key, self._queues[key])

    def waiting(self) -> list[tuple[str, int]]:
        """Partitions that something waits for."""
        return [key for key, queue in self._queues.items() if queue.peek() is not None]

    def _queue(self, topic: str, partition: int) -> _Queue:
        return self._queues.setdefault((topic, partition), _Queue(self._lock))


@dataclass
class Sending:
    """A batch on its way. Until every part of it was answered well, its sender sends it again."""

    batch: Batch
    due_ms: int
    attempts: int = 0
    parts: list[Future[int]] | None = None
    # Whoever has the connection open: it is lost with the process.
    process: int = 0
    accepted: Sequence[bytes] = ()


class Collector(Process):
    """Takes batches, appends them, answers."""

    name = "collector"

    def __init__(self, clock: SimClock, rng: Random, open_log: Callable[[], Log], senders: Senders) -> None:
        super().__init__(clock, rng)
        self._open = open_log
        self._senders = senders
        self._starts = 0
        self._commit: SteppedCommit

    def open_log(self) -> Log:
        return self._open()

    def start(self) -> None:
        self._starts += 1
        self._commit = SteppedCommit(self.log)

    def step(self) -> bool:
        taken = self._take()
        waiting = self._commit.waiting()
        if waiting:
            self._commit.write_next(self.rng.choice(waiting))
        self._senders.hear(self._starts)
        return taken or bool(waiting)

    def kill(self) -> None:
        super().kill()
        self._senders.cut_off()

    def _take(self) -> bool:
        sending = self._senders.next_due(self.clock.true_ms)
        if sending is None:
            return False
        partitions = self.log.partitions(EVENTS)
        batch = sending.batch
        admitted = admit(
            batch.payload, org_id=batch.org_id, now_ms=self.clock.wall_ms(), partitions=partitions, source=batch.name
        )
        refused = {refused.line for refused in admitted.refused}
        sending.accepted = [id_ for line, id_ in enumerate(batch.event_ids, 1) if line not in refused]
        parts = [self._commit.submit(EVENTS, p, records, owner=batch.org_id) for p, records in admitted.records.items()]
        if admitted.refused:
            letters = [encode_letter(one.letter) for one in admitted.refused]
            parts.append(self._commit.submit(DEAD_LETTERS, 0, letters))
        sending.parts, sending.process = parts, self._starts
        return True


@dataclass
class Senders:
    """Clients that send batches and send them again after a failure; some give up. They know what was acknowledged."""

    rng: Random
    clock: SimClock
    waiting: list[Sending] = field(default_factory=list)
    # Event ids: acknowledged with a 202, and ever on the way.
    acknowledged: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)

    def send(self, batch: Batch) -> None:
        """A sender has a batch."""
        self.waiting.append(Sending(batch, self.clock.true_ms))

    def next_due(self, now_ms: int) -> Sending | None:
        """A batch that is sent now."""
        due = [one for one in self.waiting if one.parts is None and one.due_ms <= now_ms]
        if not due:
            return None
        chosen = self.rng.choice(due)
        self.sent.update(chosen.batch.event_ids)
        return chosen

    def hear(self, process: int) -> None:
        """Answers that are there by now."""
        for sending in list(self.waiting):
            parts = sending.parts
            if parts is None or not all(part.done() for part in parts):
                continue
            failures = [part.exception() for part in parts]
            if not any(failures):
                self.acknowledged.update(sending.accepted)
                self.waiting.remove(sending)
            elif all(isinstance(failure, LogUnavailableError | None) for failure in failures):
                self._again(sending)
            else:
                raise next(failure for failure in failures if failure is not None)

    def cut_off(self) -> None:
        """The collector has gone, and with it every open request."""
        for sending in list(self.waiting):
            if sending.parts is not None:
                self._again(sending)

    def _again(self, sending: Sending) -> None:
        sending.parts = None
        sending.attempts += 1
        sending.due_ms = self.clock.true_ms + 500 * sending.attempts
        if sending.attempts > sending.batch.retries:
            self.waiting.remove(sending)
