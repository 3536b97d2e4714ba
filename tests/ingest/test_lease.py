"""One leads: on one machine by a file, on several by Kafka."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from ingest import lease
from ingest.kafka_topics import ensure_topics
from ingest.lease import FileLease, KafkaLease, LeaseHeldError
from schemas.topics import DECISIONS
from tests.support.until import until


def always() -> bool:
    return True


def test_a_second_process_is_refused_with_the_first_one_s_number(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from ingest.lease import FileLease\n"
        "lease = FileLease(Path(sys.argv[1]), 'penstock actuate')\n"
        "lease.acquire(lambda: True); print('leads', flush=True)\n"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "leads\n"
        with pytest.raises(LeaseHeldError, match=f"penstock actuate already runs .*process {other.pid}"):
            FileLease(tmp_path / "a.lock", "penstock actuate").acquire(always)
        other.kill()
    later = FileLease(tmp_path / "a.lock", "penstock actuate")
    assert later.acquire(always)
    assert later.held()
    later.release()
    assert not later.held()


@pytest.fixture
def topic(kafka_bootstrap: str, kafka_prefix: str) -> str:
    ensure_topics(kafka_bootstrap, 1, prefix=kafka_prefix)
    return kafka_prefix + DECISIONS


async def test_on_kafka_one_of_two_leads_and_the_other_follows_it(kafka_bootstrap: str, topic: str) -> None:
    first = KafkaLease(kafka_bootstrap, topic, f"{topic}-lease")
    assert first.acquire(always)
    second = KafkaLease(kafka_bootstrap, topic, f"{topic}-lease")
    asked = iter(range(12))
    assert not await asyncio.to_thread(second.acquire, lambda: next(asked, None) is not None)
    assert first.held()
    assert not second.held()
    first.release()
    await until(second.held, 60)
    second.release()


def test_a_process_that_was_frozen_no_longer_believes_that_it_leads(
    kafka_bootstrap: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = KafkaLease(kafka_bootstrap, topic, f"{topic}-frozen")
    assert one.acquire(always)
    assert one.held()
    now = lease.time.monotonic()
    monkeypatch.setattr(lease.time, "monotonic", lambda: now + 60)
    assert not one.held()
    monkeypatch.undo()
    assert not one.held()
    one.release()
