"""Where the dataflow ends: outputs into the log, durable before their epoch can close."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from flows.logic.step import Output
from flows.metrics import Meter
from flows.topic_writers import WRITER_BYTES_MAX, TopicWriter
from schemas.corrections import encode_applied
from schemas.dead_letters import DeadLetter
from schemas.decisions import Decision, encode_decision
from schemas.live import CampaignLive, LiveFrame, encode_live
from schemas.log import Log
from schemas.serving import encode_serving, key_in
from schemas.topics import CORRECTIONS_APPLIED, DEAD_LETTERS, DECISIONS, KPIS, LIVE, SERVING, VERDICTS

Item = Output | list[DeadLetter]

# Sink partitions are fixed for a recovery store; each process writes to one of its own, so this bounds a cluster.
PROCESSES_MAX: Final = 256
# Live rows that wait; a browser wants the newest.
LIVE_BYTES_MAX: Final = 2 * 2**20
# After a request to stop: how long the log may take outputs before the process ends without a snapshot of them.
STOP_GRACE_S: Final = 5.0

_encode = msgspec.json.Encoder().encode


def sink_key(process: int) -> str:
    """The sink partition of a process.

    >>> sink_key(3)
    '003'
    """
    return f"{process:03d}"


class LogSink(FixedPartitionedSink[Item, int]):
    """One partition a process, written by that process only: outputs do not travel.

    A partition and not a plain sink because only partitions are asked for a snapshot when an epoch ends: that is
    where this one waits until the log has everything.
    """

    def __init__(self, log: Log, meter: Meter, process: int, processes: int, stopping: Callable[[], bool]) -> None:
        self._log = log
        self._meter = meter
        self._process = process
        self._processes = processes
        self._stopping = stopping

    def list_parts(self) -> list[str]:
        """This process's share of all partitions there can be, so that clusters of any size resume one store."""
        return [sink_key(part) for part in range(self._process, PROCESSES_MAX, self._processes)]

    def part_fn(self, item_key: str) -> int:
        """The key is the partition."""
        return int(item_key)

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> LogSinkPartition:
        """A writer; there is nothing to resume, the log is its memory."""
        return LogSinkPartition(self._log, self._meter, self._stopping)


class LogSinkPartition(StatefulSinkPartition[Item, int]):
    """Sorts outputs into writers."""

    def __init__(self, log: Log, meter: Meter, stopping: Callable[[], bool]) -> None:
        self._log = log
        self._meter = meter
        self._stopping = stopping
        # Made when first used: in a cluster most sink partitions only ever pass through recovery.
        self._writers: dict[str, TopicWriter] = {}

    def write_batch(self, values: list[Item]) -> None:
        """Queue outputs for the log; waits when too many are held."""
        outputs = [value for value in values if isinstance(value, Output)]
        decisions = [decision for output in outputs for decision in output.decisions]
        self._put(DECISIONS, self._encoded(decisions), self._meter.read_s)
        self._put(SERVING, [encode_serving(state) for output in outputs for state in output.serving])
        self._put_live([row for output in outputs for row in output.live], outputs)
        self._put(KPIS, [_encode(batch) for output in outputs for batch in output.kpis])
        self._put(VERDICTS, [_encode(verdicts) for output in outputs for verdicts in output.verdicts])
        self._put(CORRECTIONS_APPLIED, [encode_applied(applied) for output in outputs for applied in output.applied])
        self._put(DEAD_LETTERS, [_encode(letter) for value in values if isinstance(value, list) for letter in value])
        for output in outputs:
            count_output(self._meter, output)

    def snapshot(self) -> int:
        """Returns when the log has everything. Raises RuntimeError when it does not and the flow was told to stop."""
        for topic, writer in self._writers.items():
            if topic != LIVE and not writer.drain(self._stopping, STOP_GRACE_S):
                raise RuntimeError(
                    f"stopped while the log took no {topic}; the next start goes on from the last snapshot"
                )
        return 0

    def close(self) -> None:
        """End the writers."""
        for writer in self._writers.values():
            writer.close()

    def _put(self, topic: str, records: Sequence[bytes], read_s: float | None = None) -> None:
        if records:
            self._writer(topic).put(records, read_s)

    def _put_live(self, rows: list[CampaignLive], outputs: list[Output]) -> None:
        if rows:
            frame = encode_live(LiveFrame(now_ms=max(row.now_ms for row in rows), rows=rows))
            if not self._writer(LIVE).offer([frame]):
                self._meter.live_dropped.inc()

    def _writer(self, topic: str) -> TopicWriter:
        writer = self._writers.get(topic)
        if writer is None:
            bytes_max = LIVE_BYTES_MAX if topic == LIVE else WRITER_BYTES_MAX
            keys = key_in if topic == SERVING else None
            writer = self._writers[topic] = TopicWriter(self._log, topic, self._meter, bytes_max, keys)
        return writer

    def _encoded(self, decisions: list[Decision]) -> list[bytes]:
        return [encode_decision(decision) for decision in decisions]


def count_output(meter: Meter, output: Output) -> None:
    """Count what a campaign shard had to say."""
    for decision in output.decisions:
        meter.decided(decision.kind, decision.reason)
    meter.folded(output.folded)
    for applied in output.applied:
        meter.corrected("applied", len(applied.corrections) - len(applied.refused))
        meter.corrected("late", len(applied.late))
        meter.corrected("refused", len(applied.refused))
    meter.corrected("again", output.corrections_again)
    meter.judged(
        duplicates=sum(len(verdicts.duplicates) for verdicts in output.verdicts),
        late=sum(len(verdicts.late) for verdicts in output.verdicts),
        windows=sum(map(len, output.kpis)),
    )
