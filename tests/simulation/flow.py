"""`penstock flow`: the real source, stages and sink in a loop that stands in for Bytewax's worker and its epochs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from flows.logic.campaigns.shard import CampaignShard
from flows.metrics import Meter
from flows.sink import LogSinkPartition
from flows.source import EventsPartition, Place, SourceOptions
from flows.stages import CampaignStage, Kept, ShardSettings, decoder, to_campaign_shards
from flows.topic_writers import TopicWriter, _fitting
from schemas.log import Log, LogUnavailableError
from schemas.topics import EVENTS, LIVE
from tests.simulation.clock import SimClock
from tests.simulation.plan import Plan
from tests.simulation.process import Process

# What it counts is for Prometheus only; one is enough for all histories.
_METER = Meter()


@dataclass(frozen=True)
class Snapshot:
    """What the recovery store holds of one epoch."""

    places: dict[int, Place]
    campaigns: dict[int, Kept]


@dataclass
class Recovery:
    """The recovery store: an epoch is in it whole or not at all. A power loss may take the newest epoch along."""

    epochs: list[Snapshot] = field(default_factory=list)

    def commit(self, snapshot: Snapshot) -> None:
        self.epochs = [*self.epochs[-1:], snapshot]

    def newest(self) -> Snapshot | None:
        return self.epochs[-1] if self.epochs else None

    def lose_newest(self) -> None:
        """The last commit was not on disk yet."""
        del self.epochs[1:]


class SteppedLane(TopicWriter):
    """A lane whose thread is the turns of the flow."""

    def __init__(self, log: Log, topic: str) -> None:
        self._log = log
        self.topic = topic
        self.waiting: list[bytes] = []

    def put(self, records: Sequence[bytes], *_: float) -> None:
        self.waiting += records

    def offer(self, records: Sequence[bytes], *_: float) -> bool:
        self.put(records)
        return True

    def drain(self, stopping: Callable[[], bool], grace_s: float) -> bool:
        return True

    def close(self) -> None:
        """No thread to end."""

    def write_next(self, most: int) -> None:
        """Append some of what waits; what the log does not take stays."""
        count = min(most, _fitting(self.waiting)[0])
        try:
            self._log.append(self.topic, 0, self.waiting[:count])
        except LogUnavailableError:
            return
        del self.waiting[:count]


class SteppedSink(LogSinkPartition):
    """The sink over stepped lanes."""

    def lanes(self) -> list[SteppedLane]:
        return [lane for lane in self._writers.values() if isinstance(lane, SteppedLane) and lane.waiting]

    def _writer(self, topic: str) -> TopicWriter:
        return self._writers.setdefault(topic, SteppedLane(self._log, topic))


def never() -> bool:
    return False


class FlowProcess(Process):
    """Reads, decides, writes; closes an epoch once its outputs are in the log."""

    name = "flow"

    def __init__(
        self, clock: SimClock, rng: Random, plan: Plan, open_log: Callable[[], Log], recovery: Recovery
    ) -> None:
        super().__init__(clock, rng)
        self._plan = plan
        self._open = open_log
        self._recovery = recovery
        self.journals = True
        self.epoch_s = plan.epoch_s

    def open_log(self) -> Log:
        return self._open()

    def start(self) -> None:
        kept, plan = self._recovery.newest(), self._plan
        options = SourceOptions(journals=self.journals, span_bytes=1_500)
        numbers = range(self.log.partitions(EVENTS))
        self.parts = {
            n: EventsPartition(self.log, n, len(numbers), kept and kept.places[n], self.clock, _METER, options, never)
            for n in numbers
        }
        self._decode = decoder(plan.shards, _METER)
        own = ShardSettings(plan.shards, len(numbers), plan.dedupe_ids)
        before = kept.campaigns if kept else {}
        self._campaigns = {shard: CampaignStage(before.get(shard), own) for shard in range(plan.shards)}
        self.sink = SteppedSink(self.log, _METER, never)
        self._epoch_since_s = self.clock.mono_s()
        self._closing = False

    def step(self) -> bool:
        lanes = self.sink.lanes()
        if self.clock.mono_s() - self._epoch_since_s >= self.epoch_s:
            self._closing = True
        if self._closing and self.outputs_are_durable():
            self._close_epoch()
            return False
        if lanes and (self._closing or self.rng.random() < 0.4):
            self.rng.choice(lanes).write_next(self.rng.choice((1, 3, 1_000, 1_000)))
            return True
        parts = self.rng.sample(list(self.parts.values()), len(self.parts))
        return not self._closing and any(self.poll(part) for part in parts)

    def outputs_are_durable(self) -> bool:
        """Whether the sink's snapshot would not have to wait; of live rows nobody misses one."""
        return not any(lane.topic != LIVE for lane in self.sink.lanes())

    def poll(self, part: EventsPartition) -> bool:
        items = part.next_batch()
        for item in items:
            decoded = self._decode(item)
            for _, to_shard in to_campaign_shards(decoded):
                self.sink.write_batch(self._campaigns[to_shard.shard].on_batch([to_shard])[0])
            if decoded.dead:
                self.sink.write_batch([decoded.dead])
        return bool(items)

    def _close_epoch(self) -> None:
        self._epoch_since_s = self.clock.mono_s()
        self._closing = False
        places = {number: part.snapshot() for number, part in self.parts.items()}
        if any(stage._logic is None for stage in self._campaigns.values()):
            return
        self.sink.snapshot()
        self._recovery.commit(
            Snapshot(
                places,
                {shard: stage.snapshot() for shard, stage in self._campaigns.items()},
            )
        )

    def doubts_the_clock(self) -> bool:
        """Whether the wall clock has leapt ahead and is not followed yet."""
        readings = [part._written.read() for part in self.parts.values()]
        return any(reading.wall_ms > reading.now_ms for reading in readings)

    def shards(self) -> list[CampaignShard]:
        """The campaign shards as they are now."""
        return [stage._logic for stage in self._campaigns.values() if stage._logic is not None]
