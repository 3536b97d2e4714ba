"""What only the log on Kafka has to cope with: foreign producers, topics, a broker that goes and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, ConfigResource

from ingest.kafka_log import KafkaLog
from ingest.kafka_topics import MESSAGE_BYTES_MAX, ensure_topics, group_names
from schemas.log import LogUnavailableError
from schemas.topics import ALL, CONTROL, CORRECTIONS, EVENTS, KPIS, LIVE, SERVING
from tests.support.kafka import Broker
from tests.support.logs import all_records


@pytest.fixture
def log(kafka_bootstrap: str, kafka_prefix: str) -> Iterator[KafkaLog]:
    ensure_topics(kafka_bootstrap, 2, prefix=kafka_prefix)
    opened = KafkaLog(kafka_bootstrap, prefix=kafka_prefix)
    yield opened
    opened.close()


def produce(bootstrap: str, topic: str, messages: list[tuple[bytes | None, bytes | None]]) -> None:
    """What another program writes: keys and values as they are."""
    producer = Producer({"bootstrap.servers": bootstrap})
    for key, value in messages:
        producer.produce(topic, value, key=key, partition=0)
    assert producer.flush(20) == 0


def test_newlines_inside_a_foreign_message_become_spaces(
    log: KafkaLog, kafka_bootstrap: str, kafka_prefix: str
) -> None:
    produce(kafka_bootstrap, kafka_prefix + EVENTS, [(None, b'{\n "a": 1\n}'), (None, b'{"a":2}')])
    assert all_records(log, EVENTS, 0) == [b'{  "a": 1 }', b'{"a":2}']


def test_tombstones_are_left_out_and_do_not_hold_up_the_reader(
    log: KafkaLog, kafka_bootstrap: str, kafka_prefix: str
) -> None:
    produce(kafka_bootstrap, kafka_prefix + CONTROL, [(b"a", b"1"), (b"a", None), (b"b", b"2")])
    found: dict[int, bytes] = {}
    offset = 0
    while offset < 3:
        chunk = log.read(CONTROL, 0, offset, 1_000, timeout_s=10.0)
        assert chunk is not None
        assert chunk.offsets is not None
        found |= dict(zip(chunk.offsets.tolist(), chunk.records(), strict=True))
        offset = chunk.next_offset
    assert found == {0: b"1", 2: b"2"}
    produce(kafka_bootstrap, kafka_prefix + CONTROL, [(b"b", None)])
    assert log.read(CONTROL, 0, 3, 1_000, timeout_s=1.0) is None


def test_a_topic_that_is_missing_says_how_to_make_it(kafka_bootstrap: str, kafka_prefix: str) -> None:
    log = KafkaLog(kafka_bootstrap, prefix=kafka_prefix, delivery_s=3.0)
    with pytest.raises(LogUnavailableError, match="penstock topics create"):
        log.partitions(EVENTS)
    with pytest.raises(LogUnavailableError):
        log.append(EVENTS, 0, [b"x"])
    log.close()


CONFIGURED = (EVENTS, CONTROL, SERVING, LIVE, CORRECTIONS)


def test_topics_are_made_once_with_their_settings(kafka_bootstrap: str, kafka_prefix: str) -> None:
    assert ensure_topics(kafka_bootstrap, 3, prefix=kafka_prefix) == [kafka_prefix + topic for topic in ALL]
    assert ensure_topics(kafka_bootstrap, 3, prefix=kafka_prefix) == []
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    resources = [ConfigResource(ConfigResource.Type.TOPIC, kafka_prefix + topic) for topic in CONFIGURED]
    described = {resource.name: future.result() for resource, future in admin.describe_configs(resources).items()}
    policies = {name.removeprefix(kafka_prefix): found["cleanup.policy"].value for name, found in described.items()}
    assert policies == {EVENTS: "delete", CONTROL: "compact", SERVING: "compact", LIVE: "delete", CORRECTIONS: "delete"}
    assert int(described[kafka_prefix + LIVE]["retention.ms"].value) == 600_000
    assert int(described[kafka_prefix + CORRECTIONS]["retention.ms"].value) == 90 * 86_400_000


def test_another_number_of_partitions_is_refused_with_the_mend(kafka_bootstrap: str, kafka_prefix: str) -> None:
    ensure_topics(kafka_bootstrap, 3, prefix=kafka_prefix)
    with pytest.raises(ValueError, match="has 3 partitions and not 2: set PENSTOCK_PARTITIONS=3"):
        ensure_topics(kafka_bootstrap, 2, prefix=kafka_prefix)


def test_groups_that_commit_offsets_are_listed(log: KafkaLog, kafka_bootstrap: str, kafka_prefix: str) -> None:
    group = f"store-{kafka_prefix}"
    log.commit(group, EVENTS, 0, 0)
    assert group in group_names(kafka_bootstrap)


def test_a_batch_of_windows_of_megabytes_goes_through_and_a_larger_record_is_refused(log: KafkaLog) -> None:
    large = b"x" * (MESSAGE_BYTES_MAX - 100_000)
    log.append(KPIS, 0, [large])
    assert all_records(log, KPIS, 0) == [large]
    with pytest.raises(LogUnavailableError, match="too large"):
        log.append(KPIS, 0, [b"x" * (MESSAGE_BYTES_MAX + 1)])


@pytest.mark.slow
def test_a_lost_broker_is_a_clear_error_and_all_goes_on_when_it_is_back(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    broker.start()
    ensure_topics(broker.bootstrap, 1)
    log = KafkaLog(broker.bootstrap, delivery_s=2.0)
    end = log.append(EVENTS, 0, [b"before"])
    assert all_records(log, EVENTS, 0) == [b"before"]
    broker.stop()
    with pytest.raises(LogUnavailableError, match="PENSTOCK_KAFKA"):
        log.append(EVENTS, 0, [b"lost"])
    with pytest.raises(LogUnavailableError, match="brokers"):
        log.read(EVENTS, 0, end, 1_000, timeout_s=0.1)
    broker.start()
    log.append(EVENTS, 0, [b"after"])
    assert all_records(log, EVENTS, 0) == [b"before", b"after"]
    log.close()
    broker.stop()
