"""The dataflow `decide`: events in, KPI windows and decisions out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators import KeyedStream
from bytewax.outputs import Sink

from flows.clock import Clock, Pace, SystemClock
from flows.logic.campaigns.shard import DEDUPE_IDS
from flows.metrics import Meter
from flows.place import SourceOptions, nothing
from flows.seed import read_seed
from flows.sink import LogSink, sink_key
from flows.source import IDLE_S, EventsSource
from flows.stages import CampaignStage, Decoded, ShardSettings, ToShard, decoder, to_campaign_shards
from schemas.log import Log
from schemas.topics import EVENTS, SERVING

# Names under which a recovery store keeps what belongs to them.
FLOW: Final = "decide"
INPUT: Final = "events"
CAMPAIGNS: Final = "campaigns"
OUTPUT: Final = "log"
# Bytes of one partition that a process of a cluster reads in one epoch: see `SourceOptions.epoch_bytes_max`.
CLUSTER_EPOCH_BYTES: int = 256 * 2**20


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """What the dataflow is built from. `shards` and `dedupe_ids` are fixed for a recovery store."""

    shards: int = 1
    dedupe_ids: int = DEDUPE_IDS
    # Where ids go that are remembered, beside the recovery store; None: into its snapshots.
    recovery_dir: Path | None = None
    # This process of how many.
    process: int = 0
    processes: int = 1
    source: SourceOptions = field(default_factory=SourceOptions)


def never() -> bool:
    """Never told to stop."""
    return False


def build(
    settings: FlowSettings,
    log: Log,
    *,
    meter: Meter,
    clock: Clock | None = None,
    stopping: Callable[[], bool] = never,
    sink: Sink[Any] | None = None,
    renew: Callable[[], None] = nothing,
    room: Callable[[], None] = nothing,
    full: Callable[[OSError], None] | None = None,
) -> Dataflow:
    """The dataflow over `log`. `sink` takes (sink key, Output or dead letters) in place of the log.

    Once `stopping()` holds, the source ends, everything read is worked through and the last snapshot is taken. Where no
    epoch ends any more since the wall clock was set back, `renew()` is called: the dataflow is to be ended and begun
    anew. `room()` returns when there is room for a snapshot; `full(error)` when one that met a full disk may be tried
    again.
    Raises LogUnavailableError when the log cannot say how many partitions it has, and whether anything is served.
    """
    clock = clock or SystemClock()
    seed = read_seed(settings.recovery_dir)
    source = EventsSource(log, clock, meter, settings.source, stopping, Pace(clock, IDLE_S), renew, room, seed.places)
    partitions = log.partitions(EVENTS)
    mine = sink_key(settings.process)
    flow = Dataflow(FLOW)
    decoded = op.map("decode", op.input(INPUT, flow, source), decoder(settings.shards, meter))
    letters = op.flat_map("dead_letters", decoded, lambda span: [(mine, span.dead)] if span.dead else [])
    says_all = log.begin(SERVING, 0) == log.end(SERVING, 0)
    own = ShardSettings(
        settings.shards, partitions, settings.dedupe_ids, settings.recovery_dir, says_all, full, seed.shards
    )
    judged = _campaigns(decoded, own, meter)
    outputs = op.map("outputs", judged, lambda keyed: (mine, keyed[1]))
    end = sink or LogSink(log, meter, settings.process, settings.processes, stopping)
    op.output(OUTPUT, op.merge("all_outputs", outputs, letters), end)
    return flow


def _campaigns(decoded: Any, own: ShardSettings, meter: Meter) -> KeyedStream[Any]:
    """The keyed stage."""

    def stage(kept: Any) -> CampaignStage:
        return CampaignStage(kept, own, meter)

    to_campaigns: KeyedStream[ToShard] = op.flat_map("to_campaign_shards", decoded, to_campaign_shards)
    return op.stateful_batch(CAMPAIGNS, to_campaigns, stage)


__all__ = ["CLUSTER_EPOCH_BYTES", "Decoded", "FlowSettings", "build", "never"]
