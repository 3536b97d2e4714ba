"""Once a second: how the flow is doing, for the dashboard and for Prometheus."""

from __future__ import annotations

import threading
from typing import Final

from flows.clock import Clock
from flows.metrics import Meter
from schemas.live import FlowStatus, encode_live
from schemas.log import Log, LogUnavailableError
from schemas.topics import EVENTS, LIVE

EVERY_S: Final = 1.0


class StatusReporter:
    """Measures lag against the log's end and writes a `FlowStatus` to topic `live`."""

    def __init__(self, log: Log, meter: Meter, clock: Clock, worker: int) -> None:
        self._log = log
        self._meter = meter
        self._clock = clock
        self._worker = worker
        self._lines = meter.lines
        self._waiting = 0
        meter.loop.pending = lambda: self._waiting
        self._at_s = clock.mono_s()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def start(self) -> None:
        """Report until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """No more reports."""
        self._stopped.set()
        self._thread.join(timeout=2 * EVERY_S)

    def report(self) -> FlowStatus:
        """Measure and write one. Raises LogUnavailableError."""
        records, size = self._lag()
        now_s = self._clock.mono_s()
        rate = (self._meter.lines - self._lines) / max(now_s - self._at_s, 1e-3)
        self._lines, self._at_s = self._meter.lines, now_s
        status = FlowStatus(
            now_ms=self._clock.wall_ms(),
            worker=self._worker,
            events_per_second=rate,
            lag_records=records,
            lag_bytes=size,
            watermark_ms=self._meter.watermark_ms,
            dead_letters=self._meter.dead_letters,
            duplicates=self._meter.duplicates,
            late=self._meter.late,
            epoch_ms=1_000 * self._meter.epoch_s,
            folded=self._meter.folded_names.total(),
            corrections=self._meter.corrections["applied"],
            corrections_late=self._meter.corrections["late"],
            corrections_left=sum(self._meter.corrections[outcome] for outcome in ("refused", "again", "foreign")),
        )
        self._log.append(LIVE, 0, [encode_live(status)])
        return status

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_S):
            try:
                self.report()
            except LogUnavailableError:
                # The source and the sink say so already.
                continue

    def _lag(self) -> tuple[int, int]:
        """Records and bytes not read yet, of the partitions that this process reads."""
        records = size = 0
        mean = self._meter.record_bytes()
        for partition, position in list(self._meter.positions.items()):
            behind = max(0, self._log.end(EVENTS, partition) - position.offset)
            in_records = round(behind / mean) if position.by_bytes else behind
            in_bytes = behind if position.by_bytes else round(behind * mean)
            self._meter.lag_records.labels(partition).set(in_records)
            self._meter.lag_bytes.labels(partition).set(in_bytes)
            records += in_records
            size += in_bytes
        self._waiting = records
        return records, size
