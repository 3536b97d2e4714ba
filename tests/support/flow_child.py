"""One process of the flow, or a supervised cluster, on a log that a test names. Run as a module, with JSON in argv."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from schemas.log import Log


class FlowSpec(msgspec.Struct, kw_only=True, frozen=True):
    """What to run and on which log: LocalLog below `root`, or Kafka when `bootstrap` is given."""

    root: str
    partitions: int
    bootstrap: str = ""
    prefix: str = ""
    processes: int = 1
    shards: int = 1
    epoch_seconds: float = 0.3
    span_bytes: int = 128 * 1024
    until_end: bool = False
    journals: bool = True
    process: int | None = None
    addresses: list[str] = []

    def open_log(self) -> Log:
        """A log of the caller's own."""
        if self.bootstrap:
            from ingest.kafka_log import KafkaLog

            return KafkaLog(self.bootstrap, prefix=self.prefix)
        from ingest.local_log import LocalLog

        return LocalLog(Path(self.root) / "log", partitions=self.partitions, fsync=False)

    def command(self) -> list[str]:
        """Words that start it in a process of its own."""
        return [sys.executable, "-m", "tests.support.flow_child", msgspec.json.encode(self).decode()]


def _supervise(spec: FlowSpec) -> int:
    from flows.cluster import supervise
    from flows.instance_lock import InstanceLock

    def command(number: int, addresses: Sequence[str]) -> list[str]:
        return msgspec.structs.replace(spec, process=number, addresses=list(addresses)).command()

    with InstanceLock(Path(spec.root)) as fence:
        return supervise(command, spec.processes, stop=threading.Event(), held=fence.inheritable())


def _run(spec: FlowSpec) -> None:
    from contextlib import nullcontext

    from flows.instance_lock import InstanceLock
    from flows.process import ProcessSettings, end_with_parent, run

    is_member = spec.process is not None
    if is_member:
        end_with_parent()
    settings = ProcessSettings(
        recovery_dir=Path(spec.root) / "recovery",
        shards=spec.shards,
        dedupe_ids=65_536,
        epoch_seconds=spec.epoch_seconds,
        addresses=tuple(spec.addresses),
        process=spec.process or 0,
        until_end=spec.until_end,
        journals=spec.journals,
        span_bytes=spec.span_bytes,
    )
    with nullcontext() if is_member else InstanceLock(Path(spec.root)):
        run(spec.open_log(), settings)


if __name__ == "__main__":
    given = msgspec.json.decode(sys.argv[1], type=FlowSpec)
    if given.processes > 1 and given.process is None:
        sys.exit(_supervise(given))
    _run(given)
