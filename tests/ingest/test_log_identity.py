"""A log's identity: made once with the log, the same for whoever opens it, another for another log."""

from __future__ import annotations

import json
from pathlib import Path

from ingest.kafka_log import KafkaLog
from ingest.local_log import LocalLog
from tests.support.memory_log import MemoryLog


def test_a_log_has_the_same_identity_whenever_it_is_opened_and_another_log_has_another(tmp_path: Path) -> None:
    first = LocalLog(tmp_path / "a", partitions=1)
    again = LocalLog(tmp_path / "a", partitions=1)
    other = LocalLog(tmp_path / "b", partitions=1)
    assert len(first.identity()) == 32
    assert again.identity() == first.identity() != other.identity()


def test_a_log_from_before_identities_gets_one_for_good(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text('{"format":1,"partitions":2}')
    first, second = (LocalLog(tmp_path, partitions=2) for _ in range(2))
    assert first.identity() == second.identity() == json.loads((tmp_path / "meta.json").read_text())["identity"]


def test_on_kafka_it_is_the_cluster_and_the_prefix(kafka_bootstrap: str) -> None:
    logs = [KafkaLog(kafka_bootstrap, prefix=prefix) for prefix in ("a.", "a.", "b.")]
    first, same, other = (log.identity() for log in logs)
    for log in logs:
        log.close()
    assert first == same != other
    assert first.startswith("kafka/")
    assert first.endswith("/a.")


def test_two_logs_in_memory_differ() -> None:
    log = MemoryLog()
    assert log.identity() == log.identity() != MemoryLog().identity()
