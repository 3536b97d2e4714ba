"""The stages of `decide` as Bytewax sees them: thin shells around `flows.logic`."""

from __future__ import annotations

import io
import pickle
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import zstandard
from bytewax.operators import StatefulBatchLogic

from flows.logic.campaign_shard import CampaignShard
from flows.logic.duplicates import Duplicates
from flows.logic.routing import CampaignRoutes
from flows.logic.step import Output, Step
from flows.metrics import Meter
from flows.shard_ids import ShardIds
from flows.source import Item
from schemas.dead_letters import DeadLetter
from schemas.decode import SeriesTable, decode_chunk


class ToShard(NamedTuple):
    """A step and the shard it goes to; Bytewax gives a stage its key only with what it emits."""

    shard: int
    step: Step


@dataclass(frozen=True, slots=True)
class ShardSettings:
    """What a campaign shard is made from. Without `recovery_dir` ids are part of its snapshot."""

    shards: int
    partitions: int
    dedupe_ids: int
    recovery_dir: Path | None = None
    # Topic `serving` has nothing: what a snapshot says was written there is written again.
    says_all: bool = False

    def duplicates(self) -> Duplicates:
        """An empty memory; senders cannot know how it spreads ids over its tables."""
        return Duplicates(self.partitions, self.dedupe_ids, secrets.randbits(64))

    def files(self, shard: int) -> ShardIds | None:
        """The files of a shard's ids."""
        return None if self.recovery_dir is None else ShardIds(self.recovery_dir, shard)


class Kept(NamedTuple):
    """A shard's snapshot, packed, and which shard it is of."""

    shard: int
    packed: bytes


# The tables of windows are mostly small numbers in wide columns: packed to a sixth, at less than it takes Bytewax to
# write the rest to disk. Hashes do not pack.
_ZSTD_LEVEL: Final = -5
# An array that packs no better than this at its beginning is kept as it is.
_WORTH_PACKING: Final = 0.8
_TRIED_BYTES: Final = 2**16

# Where the classes of a shard's state are, and what a wheel puts before them.
_OURS: Final = ("flows", "schemas", "bidding")
_OF_A_WHEEL: Final = "penstock."
_HERE: Final = (__package__ or "").removesuffix("flows")


def pack(state: Any) -> bytes:
    """State as bytes for the recovery store; its arrays are read where they are.

    >>> unpack(pack({"seen": [1, 2]}))
    {'seen': [1, 2]}
    """
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(state, protocol=5, buffer_callback=buffers.append)
    return pickle.dumps((head, [_packed(buffer.raw()) for buffer in buffers]), protocol=5)


def _packed(raw: memoryview) -> tuple[bool, bytes]:
    """Bytes of an array, and whether they are compressed."""
    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)
    tried = raw[:_TRIED_BYTES]
    if len(compressor.compress(tried)) > _WORTH_PACKING * len(tried):
        return False, bytes(raw)
    return True, compressor.compress(raw)


def unpack(packed: bytes) -> Any:
    """The state that was packed; only ever given what this flow wrote to its own recovery store."""
    head, arrays = pickle.loads(packed)  # noqa: S301
    decompress = zstandard.ZstdDecompressor().decompress
    # Bytes that may be written to, as an array's should be.
    buffers = [bytearray(decompress(kept) if is_packed else kept) for is_packed, kept in arrays]
    return _Unpickler(io.BytesIO(head), buffers=buffers).load()


class _Unpickler(pickle.Unpickler):
    """Finds our classes by the name that they have here: below `penstock` in a wheel, at the top in a checkout."""

    def find_class(self, module: str, name: str) -> Any:
        bare = module.removeprefix(_OF_A_WHEEL)
        ours = bare.partition(".")[0] in _OURS
        return super().find_class(_HERE + bare if ours else module, name)


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
        """Raises IdsDamagedError where files that the snapshot names are not whole."""
        self._meter = meter
        self._settings = settings
        self._logic: CampaignShard | None = None
        if kept is not None:
            self._restore(kept)

    def _restore(self, kept: Kept) -> None:
        own = self._settings
        state = unpack(kept.packed)
        duplicates = own.duplicates()
        self._files = own.files(kept.shard)
        if self._files is not None:
            self._files.load(state["files"], duplicates)
        self._logic = CampaignShard.restore(state, kept.shard, own.shards, own.partitions, duplicates=duplicates)
        if own.says_all:
            self._logic.words.forget()
        self._count(kept)

    def _begin(self, shard: int) -> CampaignShard:
        own = self._settings
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
        """The shard's state. Ids go into files first, where there are any, so that what the snapshot names is there."""
        logic = self._logic
        assert logic is not None
        state = logic.snapshot(copied=False, with_ids=self._files is None)
        if self._files is not None:
            state["files"] = self._files.save(logic.duplicates)
        return self._count(Kept(logic.shard, pack(state)))

    def _count(self, kept: Kept) -> Kept:
        if self._meter is not None:
            self._meter.kept("campaigns", kept.shard, len(kept.packed))
        return kept


def _says_something(output: Output) -> bool:
    said = output.decisions or output.kpis or output.verdicts or output.serving or output.live or output.folded
    return bool(said or output.applied or output.corrections_again)
