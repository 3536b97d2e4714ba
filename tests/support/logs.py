"""Logs that a test opens, and opens again in another process."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ingest.kafka_log import KafkaLog
from ingest.local_log import LocalLog
from schemas.log import Log

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class LogPlace:
    """Where a log is: a folder for the local log, a broker and a topic prefix for Kafka."""

    kind: str
    where: str
    prefix: str = ""
    partitions: int = 2

    def open(self) -> Log:
        """The log, opened anew."""
        if self.kind == "kafka":
            return KafkaLog(self.where, prefix=self.prefix)
        # Small segments, so that every test crosses from one into the next.
        return LocalLog(Path(self.where), partitions=self.partitions, segment_bytes=4_096)


def start_appender(
    place: LogPlace, topic: str, partition: int, *, name: str, batches: int, size: int = 10, file_bytes_max: int = 0
) -> subprocess.Popen[str]:
    """A process that appends `batches` of `size` records, `<name>-<batch>-<n>`, and prints each batch's number when
    the log has acknowledged it."""
    arguments = [place.kind, place.where, place.prefix, place.partitions, topic, partition, name, batches, size]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.appender", *map(str, arguments), str(file_bytes_max)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def all_records(log: Log, topic: str, partition: int, *, offset: int | None = None) -> list[bytes]:
    """Every record of a partition up to its present end."""
    at = log.begin(topic, partition) if offset is None else offset
    end = log.end(topic, partition)
    found: list[bytes] = []
    while at < end:
        chunk = log.read(topic, partition, at, 1 << 20, timeout_s=10.0)
        assert chunk is not None, f"nothing to read at {at} although the end is {end}"
        assert chunk.next_offset > at
        found += chunk.records()
        at = chunk.next_offset
    return found
