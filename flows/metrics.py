"""Every metric of the flow, named once."""

from __future__ import annotations

from collections import Counter as Tally
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from schemas.health import Loop


@dataclass(slots=True)
class Position:
    """How far a partition of `events` was read; `by_bytes` when its offsets are byte positions."""

    offset: int
    by_bytes: bool = True


class Meter:
    """What one flow process counts: plain numbers for `FlowStatus`, the same as Prometheus metrics."""

    def __init__(self, loop: Loop | None = None) -> None:
        # The dataflow's thread: source, stages and sink turn in it.
        self.loop = loop if loop is not None else Loop("dataflow")
        self.registry = CollectorRegistry()
        # When the newest span was read, by the monotonic clock; the dataflow's thread works it through before the next.
        self.read_s = 0.0
        self.lines = 0
        self.bytes = 0
        self.dead_letters = 0
        self.duplicates = 0
        self.late = 0
        self.decisions = 0
        self.windows = 0
        self.epochs = 0
        self.epoch_s = 0.0
        self.watermark_ms = 0
        # Size of this process's last snapshot, by stage and shard.
        self._kept_bytes: dict[tuple[str, int], int] = {}
        self.positions: dict[int, Position] = {}
        self.folded_names: Tally[str] = Tally()
        # Corrections by what became of them.
        self.corrections: Tally[str] = Tally()
        self._declare_input()
        self._declare_output()

    def _declare_input(self) -> None:
        r = self.registry
        # Lines of `events` that were decoded, blank ones not counted, refused ones included.
        self._events = Counter("penstock_flow_events", "Events read", ["partition"], registry=r)
        # Their bytes, newlines included.
        self._bytes = Counter("penstock_flow_bytes", "Bytes of events read", ["partition"], registry=r)
        # What is in the log behind the last event read. One of the two is exact, the other follows from the mean size
        # of a record: LocalLog counts bytes, Kafka records.
        self.lag_records = Gauge("penstock_flow_lag_records", "Events not read yet", ["partition"], registry=r)
        self.lag_bytes = Gauge("penstock_flow_lag_bytes", "Bytes of events not read yet", ["partition"], registry=r)
        # The highest event time seen by this process, ms since 1970 UTC.
        self._watermark = Gauge("penstock_flow_watermark_ms", "Highest event time", registry=r)
        # Refused events by reason code.
        self._dead = Counter("penstock_flow_dead_letters", "Events refused", ["reason"], registry=r)
        # Times that the log could not be read or the journal not written; the source waits and tries again.
        self.source_retries = Counter(
            "penstock_flow_source_retries", "Failed reads of the log", ["partition"], registry=r
        )
        # Records of the journal or of `control` that could not be read and were left out.
        self.bad_records = Counter("penstock_flow_bad_records", "Unreadable records", ["topic"], registry=r)
        # Times that retention removed what was not read yet: lost to the flow. Anything but 0 is an incident.
        self.offsets_gone = Counter("penstock_flow_offsets_gone", "Offsets lost to retention", ["topic"], registry=r)

    def _declare_output(self) -> None:
        r = self.registry
        # Events dropped because their event id was seen before.
        self._duplicates = Counter("penstock_flow_duplicates", "Duplicate events", registry=r)
        # Events that came after their 10 s window had closed.
        self._late = Counter("penstock_flow_late", "Late events", registry=r)
        # Decisions by kind and reason; written again after a crash, they count again.
        self._decisions = Counter("penstock_flow_decisions", "Decisions", ["kind", "reason"], registry=r)
        # From reading the events that caused a decision until the decision is durable in the log.
        self.decision_seconds = Histogram(
            "penstock_flow_decision_seconds",
            "From reading an event to its decision being durable",
            registry=r,
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
        )
        # Campaigns and series beyond an organisation's bounds, counted under `~other`: a flood of made-up names. Some
        # organisations by name, at most FOLDED_ORGS_MAX a shard.
        self._folded = Counter("penstock_flow_folded", "Names counted under ~other", ["org"], registry=r)
        # Corrections: `applied` (`late` among them: in windows that are closed), `refused`, `again` (known by their id)
        # and `foreign` (in a partition that is not their campaign's, left out).
        self._corrections = Counter("penstock_flow_corrections", "Corrections", ["outcome"], registry=r)
        # From the end of an epoch's input until the next epoch's first read: outputs durable, snapshot written.
        self._epoch = Histogram(
            "penstock_flow_epoch_close_seconds",
            "Time to close an epoch",
            registry=r,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
        )
        # Times that the log did not take outputs; the sink holds them and tries again.
        self.sink_retries = Counter("penstock_flow_sink_retries", "Failed writes of outputs", ["topic"], registry=r)
        # Outputs held until the log takes them.
        self.sink_pending = Gauge("penstock_flow_sink_pending_bytes", "Outputs not written yet", ["topic"], registry=r)
        # Live rows left out because the log was too slow; harmless, the next row of a campaign is complete.
        self.live_dropped = Counter("penstock_flow_live_dropped", "Live frames left out", registry=r)

    def read(self, partition: int, offset: int, by_bytes: bool) -> None:
        """A partition was read up to `offset`."""
        self.positions[partition] = Position(offset, by_bytes)

    def decoded(self, partition: int, lines: int, size: int, watermark_ms: int, dead: Tally[str]) -> None:
        """A span was decoded: its lines and bytes, its highest event time (0: none), refused lines by reason."""
        self.lines += lines
        self.bytes += size
        self._events.labels(partition).inc(lines)
        self._bytes.labels(partition).inc(size)
        if watermark_ms > self.watermark_ms:
            self.watermark_ms = watermark_ms
            self._watermark.set(watermark_ms)
        for reason, count in dead.items():
            self.dead_letters += count
            self._dead.labels(reason).inc(count)

    def judged(self, duplicates: int, late: int, windows: int) -> None:
        """A campaign shard worked through a span."""
        self.duplicates += duplicates
        self.late += late
        self.windows += windows
        self._duplicates.inc(duplicates)
        self._late.inc(late)

    def decided(self, kind: str, reason: str) -> None:
        """A decision was taken."""
        self.decisions += 1
        self._decisions.labels(kind, reason).inc()

    def folded(self, names: dict[str, int]) -> None:
        """By organisation: so many campaigns and series were counted under `~other`."""
        for org_id, count in names.items():
            self.folded_names[org_id] += count
            self._folded.labels(org_id).inc(count)

    def corrected(self, outcome: str, count: int = 1) -> None:
        """So many corrections came to this."""
        if count:
            self.corrections[outcome] += count
            self._corrections.labels(outcome).inc(count)

    def epoch_closed(self, seconds: float) -> None:
        """An epoch was closed within so many seconds."""
        self.epochs += 1
        self.epoch_s = seconds
        self._epoch.observe(seconds)

    def kept(self, stage: str, shard: int, size: int) -> None:
        """A shard's snapshot was taken, or gone on from."""
        self._kept_bytes[stage, shard] = size

    @property
    def snapshot_bytes(self) -> int:
        """Size of this process's last snapshot."""
        return sum(self._kept_bytes.values())

    def record_bytes(self) -> float:
        """Mean size of an event so far; 1 before the first."""
        return self.bytes / self.lines if self.lines else 1.0

    def serve(self, host: str, port: int) -> None:
        """Answer Prometheus at this address."""
        start_http_server(port, addr=host, registry=self.registry)
