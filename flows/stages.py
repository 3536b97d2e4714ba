"""The stages of `decide` as Bytewax sees them: thin shells around `flows.logic`."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from bytewax.operators import StatefulBatchLogic

from flows.logic.campaigns.duplicates import Duplicates
from flows.logic.campaigns.shard import CampaignShard
from flows.logic.routing import CampaignRoutes
from flows.logic.step import Output, Step
from flows.metrics import Meter
from flows.snapshots.shard import ShardFiles
from flows.snapshots.versions import read, write
from flows.source import Item
from schemas.dead_letters import DeadLetter
from schemas.decode import SeriesTable, decode_chunk


class ToShard(NamedTuple):
    """A step and the shard it goes to; Bytewax gives a stage its key only with what it emits."""

    shard: int
    step: Step


@dataclass(frozen=True, slots=True)
class ShardSettings:
    """What a campaign shard is made from. Without `recovery_dir` its snapshot is whole and holds all."""

    shards: int
    partitions: int
    dedupe_ids: int
    recovery_dir: Path | None = None
    # Topic `serving` has nothing: what a snapshot says was written there is written again.
    says_all: bool = False
    # Waits until the disk may take more, told why it did not.
    wait: Callable[[OSError], None] | None = None
    # By shard: the snapshot to begin from where Bytewax has none yet.
    seeds: Mapping[int, bytes] = field(default_factory=dict)

    def duplicates(self) -> Duplicates:
        """An empty memory; senders cannot know how it spreads ids over its tables."""
        return Duplicates(self.partitions, self.dedupe_ids, secrets.randbits(64))

    def files(self, shard: int) -> ShardFiles | None:
        """The files of a shard's state and ids."""
        return None if self.recovery_dir is None else ShardFiles(self.recovery_dir, shard, self.wait)


class Kept(NamedTuple):
    """A shard's snapshot, packed, and which shard it is of."""

    shard: int
    packed: bytes


@dataclass(slots=True)
class Decoded:
    """A span decoded: a step for each campaign shard, and what was refused."""

    steps: list[Step]
    dead: list[DeadLetter]


def decoder(shards: int, meter: Meter) -> Callable[[Item], Decoded]:
    """Turns spans into columns, one part for each campaign shard; control points go to every shard.

    Codes of series last from span to span: Python sees a series once, not once a span.
    """
    # Senders cannot know how their texts are spread over tables.
    series = SeriesTable(spread=np.uint64(secrets.randbits(64) | 1))
    routes = CampaignRoutes(shards)

    def decode(item: Item) -> Decoded:
        if isinstance(item, Step):
            return Decoded(routes.split(item), [])
        chunk = item.chunk
        decoded = decode_chunk(chunk, now_ms=item.latest_ms, series=series, stamp_ms=item.now_ms)
        batch = decoded.batch
        meter.decoded(
            chunk.partition,
            decoded.lines,
            len(chunk.payload),
            int(batch.ts_ms.max()) if len(batch) else 0,
            Counter(letter.reason for letter in decoded.dead),
        )
        step = Step(
            partition=chunk.partition,
            first_offset=chunk.first_offset,
            next_offset=chunk.next_offset,
            now_ms=item.now_ms,
            read_ms=item.read_ms,
            batch=batch,
            dead=sorted(_position(letter) for letter in decoded.dead),
        )
        return Decoded(routes.split(step), decoded.dead)

    return decode


def _position(letter: DeadLetter) -> int:
    """The log offset in a dead letter's source, "events/3@123456"."""
    return int(letter.source.rpartition("@")[2])


def to_campaign_shards(decoded: Decoded) -> list[tuple[str, ToShard]]:
    """The steps with the keys of their shards."""
    return [(str(shard), ToShard(shard, step)) for shard, step in enumerate(decoded.steps)]


class CampaignStage(StatefulBatchLogic[ToShard, Output, Kept]):
    """A campaign shard: duplicates, KPIs, budgets, decisions."""

    def __init__(self, kept: Kept | None, settings: ShardSettings, meter: Meter | None = None) -> None:
        """Raises StateDamagedError where files that the snapshot names are not whole."""
        self._meter = meter
        self._settings = settings
        self._logic: CampaignShard | None = None
        if kept is not None:
            self._logic = self._restore(kept)

    def _restore(self, kept: Kept) -> CampaignShard:
        own, duplicates = self._settings, self._settings.duplicates()
        self._files = own.files(kept.shard)
        state = read(kept.packed, None) if self._files is None else self._files.load(kept.packed, duplicates)
        logic = CampaignShard.restore(state, kept.shard, own.shards, own.partitions, duplicates=duplicates)
        if own.says_all:
            logic.words.forget()
        self._count(kept)
        return logic

    def _begin(self, shard: int) -> CampaignShard:
        own = self._settings
        if shard in own.seeds:
            return self._restore(Kept(shard, own.seeds[shard]))
        self._files = own.files(shard)
        if self._files is not None:
            self._files.begin()
        return CampaignShard(shard, own.shards, own.partitions, duplicates=own.duplicates())

    def on_batch(self, values: list[ToShard]) -> tuple[list[Output], bool]:
        """What follows from the steps."""
        if self._logic is None:
            self._logic = self._begin(values[0].shard)
        outputs = [self._logic.step(value.step) for value in values]
        return [output for output in outputs if _says_something(output)], StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[list[Output], bool]:
        """Windows that changed since they were last reported: after the end of a bounded log nobody else asks."""
        return ([] if self._logic is None else [self._logic.drain()]), StatefulBatchLogic.RETAIN

    def snapshot(self) -> Kept:
        """The shard's state. Files come first, so that what the snapshot names is there."""
        logic, files = self._logic, self._files
        assert logic is not None
        state = logic.snapshot(copied=False, with_ids=files is None)
        return self._count(
            Kept(logic.shard, write(state, None) if files is None else files.save(state, logic.duplicates))
        )

    def _count(self, kept: Kept) -> Kept:
        if self._meter is not None:
            written = 0 if self._files is None else self._files.written
            self._meter.kept("campaigns", kept.shard, len(kept.packed) + written)
        return kept


def _says_something(output: Output) -> bool:
    said = output.decisions or output.kpis or output.verdicts or output.serving or output.live or output.folded
    return bool(said or output.applied or output.corrections_again)
