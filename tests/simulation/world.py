"""A history: all processes, the faults of its plan, and the quiet end in which everything must come right."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Final
from unittest import mock

from ingest.local_log import LocalLog
from schemas import topics
from schemas.corrections import encode_correction
from schemas.log import Chunk, Log, LogUnavailableError
from schemas.topics import partition_of
from storage.store import correction_feed, event_feed, kpi_feed, verify
from tests.simulation.actuate import Actuate, inline
from tests.simulation.clock import SimClock
from tests.simulation.collector import Collector, Senders
from tests.simulation.disk import PowerLostError, SimDisk
from tests.simulation.flow import FlowProcess, Recovery
from tests.simulation.kafka import Broker, KafkaClient
from tests.simulation.network import Link
from tests.simulation.people import Database, People
from tests.simulation.plain import records
from tests.simulation.plan import LENGTH_MS, LINKS, Fault, Plan, Said
from tests.simulation.platform import Platform
from tests.simulation.process import KilledError, Process
from tests.simulation.store import RemoteServing, Serving, SimReconciliation, Store, missing, warehouse_and_client

# The quiet end: rounds in which every process works as long as it finds work, a while apart.
ROUND_MS: Final = 1_050
# Ticks after the last event until every window was reported, those of series being the slowest.
ROUNDS_SETTLED: Final = 13
ROUNDS_MOST: Final = 60
STEPS_A_ROUND: Final = 60
# Rounds until a clock that has leapt is believed (128 s), and how long each is.
ROUNDS_BELIEVED: Final = 20
BELIEF_MS: Final = 8_000
# After which a correction that the log did not take is sent again.
RETRY_MS: Final = 700
# Time between two turns, on average; and how often each process has one.
_TURN_MS: Final = 40
_WEIGHTS: Final = (3, 6, 3, 1, 2, 1)


class Violation(AssertionError):  # noqa: N818 - what is violated is said in the message
    """A promise that a history broke."""


class Unhurried:
    """A log whose reads never wait: in one thread nobody would append meanwhile."""

    def __init__(self, log: LocalLog) -> None:
        self._log = log

    def read(self, topic: str, partition: int, offset: int, max_bytes: int, timeout_s: float = 0.0) -> Chunk | None:
        return self._log.read(topic, partition, offset, max_bytes)

    def upkeep(self) -> None:
        """What its thread does: compress what is sealed."""
        with suppress(LogUnavailableError):
            self._log.compress()

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)


class World:
    """Everything there is in a history, made from its plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._rng = Random(f"{plan.seed}/turns")
        self.clock = SimClock()
        self.disk = SimDisk(self.clock, self.rng_of("disk"))
        self.broker = Broker(plan.partitions, self.rng_of("broker"))
        self.links = {name: Link() for name in LINKS}
        self.senders = Senders(self.rng_of("senders"), self.clock)
        self.recovery = Recovery()
        self.warehouse, client = warehouse_and_client(self.links["clickhouse"])
        self.served = RemoteServing(self.links["redis"])
        self.platform = Platform(self.clock, self.rng_of("platform"), self.links["platform"])
        self.database = Database()
        self.collector = Collector(self.clock, self.rng_of("collector"), self._opener("collector"), self.senders)
        self.flow = FlowProcess(self.clock, self.rng_of("flow"), plan, self._opener("flow"), self.recovery)
        self.store = Store(self.clock, self.rng_of("store"), self._opener("store"), client)
        self.serving = Serving(self.clock, self.rng_of("serving"), self._opener("serving"), self.served)
        self.actuate = Actuate(self.clock, self.rng_of("actuate"), self._opener("actuate"), self.platform)
        self.people = People(self.clock, self.rng_of("people"), self._opener("people"), self.database)
        self.processes: tuple[Process, ...] = (
            self.collector, self.flow, self.store, self.serving, self.actuate, self.people,
        )  # fmt: skip
        self._by_name = {process.name: process for process in self.processes}
        # Entries of the written order when the quiet end began, and how long that was.
        self.entries_before: dict[int, int] = {}
        self.quiet_ms = 0
        self._sayers = self.rng_of("log of sayers")
        self._calm: list[tuple[int, Callable[[], None]]] = []

    def rng_of(self, name: str) -> Random:
        """Chance of its own for a part, so that one part's doing does not move another's."""
        return Random(f"{self.plan.seed}/{name}")

    def _opener(self, name: str) -> Callable[[], Log]:
        rng = self.rng_of(f"log of {name}")
        return lambda: self.open_log(rng, name)

    def open_log(self, rng: Random, name: str = "") -> Log:
        """A connection to the log, for a process that starts."""
        if self.plan.log == "kafka":
            return KafkaClient(self.broker, self.links["log"], self.clock, rng)
        log = LocalLog(
            Path("log"),
            partitions=self.plan.partitions,
            segment_bytes=self.plan.segment_bytes,
            compact_bytes=1_500,
            compress=False,
            disk=self.disk.mount(name),
            now_ms=self.clock.wall_ms,
        )
        return Unhurried(log)  # type: ignore[return-value]

    def run(self) -> None:
        """The history up to its quiet end."""
        with _one_thread():
            self._run_with_faults()
            self._run_quiet()

    def close(self) -> None:
        """End what a history may still hold."""
        for process in self.processes:
            process.kill()

    # -- with faults --------------------------------------------------------------------------------------------

    def _run_with_faults(self) -> None:
        agenda: list[tuple[int, int, Callable[[], None]]] = []
        for batch in self.plan.batches:
            agenda.append((batch.at_ms, len(agenda), lambda batch=batch: self.senders.send(batch)))  # type: ignore[misc]
        for change in self.plan.changes:
            agenda.append((change.at_ms, len(agenda), lambda change=change: self._change(change)))  # type: ignore[misc]
        waiting = [*self.plan.corrections]
        for said in self.plan.corrections:
            agenda.append((said.at_ms, len(agenda), lambda said=said: self._begin(said, waiting)))  # type: ignore[misc]
        for fault in self.plan.faults:
            agenda.append((fault.at_ms, len(agenda), lambda fault=fault: self._strike(fault)))  # type: ignore[misc]
        agenda.sort(key=lambda entry: entry[:2], reverse=True)
        while self.clock.elapsed_ms < LENGTH_MS:
            while agenda and agenda[-1][0] <= self.clock.elapsed_ms:
                agenda.pop()[2]()
            self._turn(self._rng.choices(self.processes, _WEIGHTS)[0])
            self.platform.turn()
            self._recover()
            self.clock.wait(self._rng.randrange(2 * _TURN_MS))

        # What would have been said between the last turn and the end is said once all is calm.
        for said in waiting:
            self._later(0, lambda said=said: self._correct(said))  # type: ignore[misc]

    def _begin(self, said: Said, waiting: list[Said]) -> None:
        waiting.remove(said)
        self._correct(said)

    def _change(self, change: object) -> None:
        self.database.commit(change, self.clock.wall_ms())  # type: ignore[arg-type]

    def _correct(self, said: Said) -> None:
        """Somebody sends a correction until the log has it, which may have it twice then."""
        correction = said.correction
        home = partition_of(correction.campaign_id, self.plan.partitions)
        try:
            log = self.open_log(self._sayers, "sayer")
            log.append(topics.CORRECTIONS, home, [encode_correction(correction)] * said.times)
        except PowerLostError:
            self._lose_power()
        except (LogUnavailableError, KilledError):
            pass
        else:
            return
        self._later(RETRY_MS, lambda: self._correct(said))

    def _turn(self, process: Process) -> bool:
        try:
            return process.turn()
        except PowerLostError:
            self._lose_power()
            return False

    def _lose_power(self) -> None:
        self.disk.end_all()
        for process in self.processes:
            process.kill()
        self.disk.lose_power()
        if self._rng.random() < 0.5:
            self.recovery.lose_newest()

    def _strike(self, fault: Fault) -> None:
        for_ms = round(1_000 * fault.amount)
        match fault.what:
            case "kill":
                self._kill(fault.where)
            case "freeze":
                self._by_name[fault.where].freeze(fault.amount)
            case "cut":
                self.links[fault.where].cut = True
                self._later(for_ms, lambda: setattr(self.links[fault.where], "cut", False))
            case "lost" | "unanswered" | "late":
                self.links[fault.where].next_calls.append(fault.what)
            case "clock":
                self.clock.error_ms = for_ms
            case "lies":
                self.warehouse.lies += 1
            case "full":
                self.disk.room = self._rng.randrange(400)
                self._later(for_ms, lambda: setattr(self.disk, "room", None))
            case "error" | "slow":
                self.disk.next_syncs.append(fault.what)
            case "kill in write":
                self.disk.kill_in_write(self._rng.choice(self.processes).name, self._rng.randrange(4))
            case "power":
                self.disk.fuse = self._rng.randrange(12)
        if self.plan.log == "kafka" and fault.what == "power":
            self._lose_power()

    def _kill(self, name: str) -> None:
        self.disk.end(name)
        self._by_name[name].kill()

    def _later(self, in_ms: int, work: Callable[[], None]) -> None:
        self._calm.append((self.clock.elapsed_ms + in_ms, work))

    def _recover(self) -> None:
        for entry in [entry for entry in self._calm if entry[0] <= self.clock.elapsed_ms]:
            self._calm.remove(entry)
            entry[1]()
        for link in self.links.values():
            if link.under_way and self._rng.random() < 0.05:
                link.deliver()

    # -- the quiet end ------------------------------------------------------------------------------------------

    def _run_quiet(self) -> None:
        for link in self.links.values():
            link.calm()
        self.disk.calm()
        for _, work in [*self._calm]:
            work()
        self._calm.clear()
        self.clock.error_ms = 0
        for process in self.processes:
            process.wake()
            process.crashes = 0
        self._let_the_clock_be_believed()
        log = self.open_log(self.rng_of("count"), "count")
        for partition in range(self.plan.partitions):
            self.entries_before[partition] = sum(1 for _ in records(log, topics.ORDER, partition))
        began_ms = self.clock.true_ms
        settled = 0
        for _ in range(ROUNDS_MOST):
            for process in self.processes:
                self._work(process)
            self.platform.turn()
            self.clock.wait(ROUND_MS)
            settled = settled + 1 if self.is_settled() else 0
            if settled >= ROUNDS_SETTLED and self.store.lag_records() == 0:
                break
        self.quiet_ms = self.clock.true_ms - began_ms
        for process in self.processes:
            if process.crashes > 2:
                raise Violation(f"{process.name} crashes again and again: {process.last_line}\n{process.last_words}")
            if not process.alive:
                raise Violation(f"{process.name} does not run: {process.last_line}\n{process.last_words}")

    def _let_the_clock_be_believed(self) -> None:
        """The dataflow follows a clock that was set right by an hour only after two minutes; until then it holds dates
        that have passed for days to come, and every other part knows better."""
        for _ in range(ROUNDS_BELIEVED):
            self._work(self.flow)
            if self.flow.alive and not self.flow.doubts_the_clock():
                return
            self.clock.wait(BELIEF_MS)

    def _work(self, process: Process) -> None:
        idle = 0
        for _ in range(STEPS_A_ROUND):
            idle = 0 if self._turn(process) else idle + 1
            if idle > 4:
                return

    def is_settled(self) -> bool:
        """Nothing is under way any more."""
        if not all(process.alive for process in self.processes):
            return False
        log = self.flow.log
        read = all(part._place.events >= log.end(topics.EVENTS, number) for number, part in self.flow.parts.items())
        parts = self.flow.parts.items()
        read = read and all(p._corrections.offset >= log.end(topics.CORRECTIONS, number) for number, p in parts)
        written = not any(lane.topic != topics.LIVE for lane in self.flow.sink.lanes())
        return not self.senders.waiting and read and written

    def newest_words(self, key: tuple[str, str]) -> tuple[dict[str, Any] | None, str]:
        """The definition that people committed last, and their last word on pausing."""
        definition, action = None, ""
        for change in self.database.changes:
            if (change.org_id, change.campaign_id) == key:
                definition = change.definition or definition
                action = change.action or action
        return definition, action

    def definition_offsets(self, log: Log) -> dict[tuple[str, str], int]:
        """Before which offset each campaign's first definition came into force."""
        found: dict[tuple[str, str], int] = {}
        for partition in range(self.plan.partitions):
            for _, record in records(log, topics.ORDER, partition):
                entry = json.loads(record)
                for control in entry.get("control", []):
                    if control["kind"] == "campaign":
                        found.setdefault((control["org_id"], control["campaign_id"]), entry["offset"])
        return found

    def expire_decisions(self) -> None:
        """Retention removes every decision, and the serving state is begun anew. Only a broker's log is cut here."""
        if self.plan.log == "kafka":
            self.broker.forget(topics.DECISIONS, 0, 2**62)
        self.serving.kill()
        self.serving.wake()
        with _one_thread():
            for _ in range(8):
                self._turn(self.serving)

    def flip_a_bit(self, folder: str, rng: Random) -> bool:
        """One bit of one segment of a folder is another; False when there is none."""
        segments = {name: inode for name, inode in self.disk.names.of_folder(folder).items() if name[:20].isdecimal()}
        written = sorted(name for name, inode in segments.items() if inode.content)
        if not written:
            return False
        name = rng.choice(written)
        self.disk.flip(f"{folder}/{name}", rng.randrange(len(segments[name].content)))
        return True

    def settle_platforms(self) -> None:
        """Let actuate come to its end: what was not answered holds it up for minutes."""
        with _one_thread():
            for _ in range(400):
                if self.actuate.idle():
                    return
                self.clock.wait(2_000)
                self.platform.turn()
                self._turn(self.actuate)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Threads run inline, SQL is Python, nobody logs."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            mock.patch.object(asyncio, "to_thread", inline),
            mock.patch.object(event_feed, "Reconciliation", SimReconciliation),
            mock.patch.object(kpi_feed, "Reconciliation", SimReconciliation),
            mock.patch.object(correction_feed, "Reconciliation", SimReconciliation),
            mock.patch.object(verify, "missing", missing),
        ):
            yield
    finally:
        logging.disable(disabled)
