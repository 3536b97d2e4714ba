"""The newest state in a recovery store of a flow that is stopped, as the flow itself would go on from it."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import bytewax.operators as op
import msgspec
from bytewax._bytewax import run_main
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.recovery import (
    InconsistentPartitionsError,
    MissingPartitionsError,
    NoPartitionsError,
    RecoveryConfig,
)

from flows.decide import CAMPAIGNS, FLOW, INPUT, OUTPUT
from flows.place import Place
from flows.seed import Seed, read_seed
from flows.sink import PROCESSES_MAX, sink_key
from flows.snapshots.framed import StateDamagedError
from flows.stages import Kept

# Beside the store, where Bytewax works on a copy: it writes to a store when it opens it.
_COPY: Final = "read"


def newest(folder: Path, partitions: int) -> Seed:
    """Places of partitions and snapshots of shards: Bytewax's newest, else those that the store began with."""
    copy = folder.with_name(f"{folder.name}.{_COPY}")
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(mode=0o700)
    try:
        for file in folder.glob("part-*.sqlite3*"):
            shutil.copyfile(file, copy / file.name)
        found = Seed(places={}, shards={})
        recovery = RecoveryConfig(copy, timedelta(0))  # type: ignore[no-untyped-call]
        run_main(_reading(partitions, found), recovery_config=recovery)  # type: ignore[no-untyped-call]
    except (MissingPartitionsError, NoPartitionsError, InconsistentPartitionsError) as error:
        raise StateDamagedError(folder, f"lacks parts ({error})") from error
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    begun = read_seed(folder)
    return Seed(places=begun.places | found.places, shards=begun.shards | found.shards)


def _reading(partitions: int, found: Seed) -> Dataflow:
    """A dataflow with the steps of `decide`, to which Bytewax hands what it has; it ends at once."""
    flow = Dataflow(FLOW)
    events: Any = op.input(INPUT, flow, _Places(partitions, found.places))
    keyed: Any = op.map("keyed", events, lambda item: ("0", item))

    def shard(kept: Kept | None) -> _Shard:
        if kept is not None:
            found.shards[kept.shard] = kept.packed
        return _Shard(kept)

    op.output(OUTPUT, op.stateful_batch(CAMPAIGNS, keyed, shard), _Nowhere())
    return flow


class _Places(FixedPartitionedSource[int, Any]):
    def __init__(self, partitions: int, found: dict[int, Place]) -> None:
        self._partitions = partitions
        self._found = found

    def list_parts(self) -> list[str]:
        return [str(partition) for partition in range(self._partitions)]

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> _Partition:
        if resume_state is not None:
            # Fields that a newer version added have their defaults.
            self._found[int(for_part)] = msgspec.convert(tuple(resume_state), Place)
        return _Partition(resume_state)


class _Partition(StatefulSourcePartition[int, Any]):
    def __init__(self, place: Any) -> None:
        self._place = place

    def next_batch(self) -> list[int]:
        raise StopIteration

    def snapshot(self) -> Any:
        return self._place


class _Shard(StatefulBatchLogic[int, int, Any]):
    def __init__(self, kept: Any) -> None:
        self._kept = kept

    def on_batch(self, values: list[int]) -> tuple[list[int], bool]:
        return [], StatefulBatchLogic.RETAIN

    def snapshot(self) -> Any:
        return self._kept


class _Nowhere(FixedPartitionedSink[int, int]):
    """The sink partitions that there can be: a store may name any of them."""

    def list_parts(self) -> list[str]:
        return [sink_key(part) for part in range(PROCESSES_MAX)]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> _Writer:
        return _Writer()


class _Writer(StatefulSinkPartition[int, int]):
    def write_batch(self, values: list[int]) -> None:
        """There are none."""

    def snapshot(self) -> int:
        return 0
