"""Mends taken out again: each is a patch of the real code that puts an old mistake back, or makes a likely one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

import zstandard

from flows.clock import Reading, WrittenClock
from flows.logic.budgets.ledger import Ledger
from flows.logic.campaigns.corrections import Corrections, KnownIds
from flows.logic.campaigns.duplicates import Duplicates
from flows.sink import LogSinkPartition
from ingest.local_log.blocks import PLAIN, Block
from ingest.local_log.writer import PartitionWriter
from platforms.host import Actuator
from platforms.outbox import Outbox
from schemas import topics
from schemas.control import CampaignRecord, decode_control
from storage import reconcile
from storage.store import event_feed, kpi_feed, verify
from storage.store.event_feed import EventFeed
from storage.store.zones import Zones


@dataclass(frozen=True)
class Mutation:
    """A mend that is taken out; `name` says what is wrong then, `seed` which history is known to miss it."""

    name: str
    install: Callable[[], AbstractContextManager[Any]]
    seed: int = 0


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _no_fsync() -> AbstractContextManager[Any]:
    """LocalLog answers when the bytes are written, not when they are on disk."""
    before = PartitionWriter.__init__

    def made(self: PartitionWriter, *arguments: Any, **named: Any) -> None:
        before(self, *arguments, **{**named, "fsync": False})

    return mock.patch.object(PartitionWriter, "__init__", made)


def _zones_are_looked_up_once() -> AbstractContextManager[Any]:
    """The first look at topic control takes what a consumer has by then, which is nothing."""

    def refresh(self: Any) -> set[Any]:
        if self._position is None:
            self._position = self._log.begin(topics.CONTROL, 0)
            chunk = self._log.read(topics.CONTROL, 0, self._position, 2**20)
            for record in map(decode_control, chunk.records() if chunk is not None else []):
                if isinstance(record, CampaignRecord):
                    self._take(record)
        return set()

    return mock.patch.object(Zones, "refresh", refresh)


def _commits_before_reconciling() -> AbstractContextManager[Any]:
    before = EventFeed._store

    def store(self: Any, *arguments: Any) -> bool:
        more = before(self, *arguments)
        self._commit()
        return more

    return mock.patch.object(EventFeed, "_store", store)


def _duplicates_are_forgotten_at_a_restart() -> AbstractContextManager[Any]:
    return mock.patch.object(Duplicates, "load")


def _snapshot_before_outputs_are_durable() -> AbstractContextManager[Any]:
    """The epoch closes while decisions still wait to be written."""
    return mock.patch("tests.simulation.flow.FlowProcess.outputs_are_durable", return_value=True)


def _days_stay_beside_the_dataflows() -> AbstractContextManager[Any]:
    stack = ExitStack()
    for module in (reconcile, kpi_feed):
        stack.enter_context(mock.patch.object(module, "displaced", return_value=[]))
    return stack


def _ticks_stop_with_the_wall_clock() -> AbstractContextManager[Any]:
    def read(self: Any) -> Reading:
        return Reading(self._clock.wall_ms(), 0)

    return mock.patch.object(WrittenClock, "read", read)


async def _know_nothing(self: Actuator) -> None:
    return None


def _lines_without_a_checksum(self: Block, stored: Any) -> Any:
    return stored if self.kind == PLAIN else zstandard.ZstdDecompressor().decompress(bytes(stored))


MUTATIONS: Final = (
    Mutation("the log answers before its bytes are on disk", _no_fsync, seed=2),
    Mutation(
        "blocks are not checked when they are read",
        lambda: mock.patch.object(Block, "lines", _lines_without_a_checksum),
        seed=1,
    ),
    Mutation("ticks stop while the wall clock is behind", _ticks_stop_with_the_wall_clock, seed=2),
    Mutation(
        "decisions of campaigns that are not known yet are dropped",
        lambda: mock.patch.object(Actuator, "_know_campaigns", _know_nothing),
        seed=406,
    ),
    Mutation(
        "actuate waits by the wall clock",
        lambda: mock.patch("tests.simulation.actuate.SteadyClock", lambda wall_ms, mono_s: wall_ms),
        seed=61,
    ),
    Mutation(
        "the store trusts the answer to an insert", lambda: mock.patch.object(verify, "must_hold", _nothing), seed=2
    ),
    Mutation("time zones are UTC for good", _zones_are_looked_up_once, seed=33),
    Mutation("the store commits before late windows are counted again", _commits_before_reconciling, seed=2),
    Mutation(
        "late windows are not counted again", lambda: mock.patch.object(event_feed, "late_moments", return_value=[])
    ),
    Mutation("days of a time zone stay beside the dataflow's", _days_stay_beside_the_dataflows, seed=239),
    Mutation(
        "requests without an answer are forgotten", lambda: mock.patch.object(Outbox, "_no_answer", _nothing), seed=32
    ),
    Mutation("a restart forgets duplicates", _duplicates_are_forgotten_at_a_restart, seed=2),
    Mutation("a snapshot is taken before outputs are durable", _snapshot_before_outputs_are_durable, seed=2),
    Mutation(
        "a correction that comes again counts again",
        lambda: mock.patch.object(KnownIds, "new_among", lambda self, corrections: corrections),
        seed=2,
    ),
    Mutation("a restart forgets which corrections came", lambda: mock.patch.object(Corrections, "load"), seed=9),
    Mutation(
        "corrections do not move budgets", lambda: mock.patch.object(Ledger, "corrected", return_value=[]), seed=20
    ),
    Mutation("decisions are not written", lambda: mock.patch.object(LogSinkPartition, "_encoded", return_value=[])),
)
