"""The log on Kafka: an idempotent producer, and one consumer for each place that is read at."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from ingest.kafka_reader import QUERY_S, PartitionConsumers, unavailable, watermarks
from ingest.kafka_topics import MESSAGE_BYTES_MAX
from schemas.log import Chunk, LogUnavailableError

# Records on their way to the broker; beyond it append waits.
_QUEUE_KBYTES: Final = 65_536
# After this long without an acknowledgement an append has failed.
DELIVERY_S: Final = 20.0
# Groups whose offsets are read or written by one process.
_GROUPS_MAX: Final = 64


class _Batch:
    """Records of one append on their way: how many are not answered for, and what came back."""

    def __init__(self, records: int) -> None:
        self._left = records
        self.done = threading.Event()
        self.next_offset = 0
        self.error: KafkaError | None = None

    def answered(self, error: KafkaError | None, message: Any) -> None:
        """Called for each record, always by the one thread that polls the producer."""
        self._left -= 1
        if error is not None:
            self.error = self.error or error
        else:
            self.next_offset = max(self.next_offset, message.offset() + 1)
        if self._left == 0:
            self.done.set()


class KafkaLog:
    """`schemas.log.Log` on Kafka. `prefix` goes before every topic's name; `config` holds further client settings,
    such as those for TLS and SASL, by librdkafka's names. Topics are made by `ingest.kafka_topics.ensure_topics`.

    A lost broker gives LogUnavailableError; when it is back, everything goes on by itself.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        prefix: str = "",
        delivery_s: float = DELIVERY_S,
        config: dict[str, str] | None = None,
    ) -> None:
        self._prefix = prefix
        self._delivery_s = delivery_s
        self._config: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "reconnect.backoff.max.ms": 1_000,
            "message.max.bytes": MESSAGE_BYTES_MAX,
            # Lost connections are told by errors; librdkafka's own lines would only repeat them.
            "log_level": 0,
            **(config or {}),
        }
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._asker: Consumer | None = None
        self._counts: dict[str, int] = {}
        self._identity: str | None = None
        self._consumers: dict[tuple[str, int], PartitionConsumers] = {}
        self._groups: dict[str, Consumer] = {}
        self._closed = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="kafka-delivery", daemon=True)
        self._poller.start()

    def identity(self) -> str:
        """The cluster's own id with the topics' prefix. Raises LogUnavailableError."""
        if self._identity is None:
            try:
                cluster = self._asking().list_topics(timeout=QUERY_S).cluster_id
            except KafkaException as error:
                raise unavailable("the cluster's id", error.args[0]) from error
            self._identity = f"kafka/{cluster}/{self._prefix}"
        return self._identity

    def partitions(self, topic: str) -> int:
        """Number of partitions of a topic. Raises LogUnavailableError when the topic is not there."""
        count = self._counts.get(topic)
        if count is None:
            name = self._prefix + topic
            try:
                found = self._asking().list_topics(name, timeout=QUERY_S).topics[name]
            except KafkaException as error:
                raise unavailable(f"partitions of {name}", error.args[0]) from error
            if found.error is not None:
                raise unavailable(f"partitions of {name}", found.error)
            count = self._counts[topic] = len(found.partitions)
        return count

    def append(self, topic: str, partition: int, records: Sequence[bytes], *, keys: Sequence[str] | None = None) -> int:
        """Append records in order; the offset behind the last, once all in-sync replicas have them.

        Raises LogUnavailableError, and ValueError for a record with a newline in it.
        """
        if not records:
            return self.end(topic, partition)
        if any(b"\n" in record for record in records):
            raise ValueError(f"{topic}/{partition}: a record holds a newline; a line is one record")
        batch = _Batch(len(records))
        producer = self._producing()
        for place, record in enumerate(records):
            self._produce(producer, topic, partition, record, keys[place] if keys is not None else None, batch)
        # librdkafka answers for every record by its delivery timeout; the margin is for its own scheduling.
        if not batch.done.wait(self._delivery_s + 10.0):
            raise LogUnavailableError(f"{topic}/{partition}: Kafka did not answer within {self._delivery_s:g} s")
        if batch.error is not None:
            self._drop_when_broken(producer, batch.error)
            raise unavailable(f"writing {topic}/{partition}", batch.error)
        return batch.next_offset

    def read(self, topic: str, partition: int, offset: int, max_bytes: int, timeout_s: float = 0.0) -> Chunk | None:
        """Messages from `offset` on as lines, at most about max_bytes but at least one; None when there is none.

        A newline inside a message becomes a space: between JSON tokens it means the same, inside a string it is not
        allowed. Messages without a value (tombstones) are left out. Raises OffsetGoneError, LogUnavailableError.
        """
        found = self._reading(topic, partition).read(offset, max_bytes, timeout_s)
        if found is None:
            return None
        payload = b"\n".join(found.values) + b"\n"
        if payload.count(b"\n") != len(found.values):
            payload = b"\n".join(value.replace(b"\n", b" ") for value in found.values) + b"\n"
        return Chunk(topic, partition, payload, int(found.offsets[0]), found.next_offset, found.offsets)

    def begin(self, topic: str, partition: int) -> int:
        """The oldest offset that can be read."""
        return watermarks(self._asking(), self._prefix + topic, partition)[0]

    def end(self, topic: str, partition: int) -> int:
        """The offset behind the last record."""
        return watermarks(self._asking(), self._prefix + topic, partition)[1]

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Remember that `group` is done with everything before `offset`, as Kafka's own tools show it."""
        place = TopicPartition(self._prefix + topic, partition, offset)
        try:
            answers = self._group(group).commit(offsets=[place], asynchronous=False)
        except KafkaException as error:
            raise unavailable(f"committing for {group}", error.args[0]) from error
        for answer in answers or []:
            if answer.error is not None:
                raise unavailable(f"committing for {group}", answer.error)

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        """The offset last committed by `group`; None when it never did, or Kafka has forgotten it."""
        place = TopicPartition(self._prefix + topic, partition)
        try:
            (answer,) = self._group(group).committed([place], timeout=QUERY_S)
        except KafkaException as error:
            raise unavailable(f"offsets of {group}", error.args[0]) from error
        if answer.error is not None:
            raise unavailable(f"offsets of {group}", answer.error)
        return int(answer.offset) if answer.offset >= 0 else None

    def close(self) -> None:
        """Close the connections; nothing is pending, since append returns when records are acknowledged."""
        self._closed.set()
        self._poller.join()
        with self._lock:
            consumers, self._consumers = self._consumers, {}
            groups, self._groups = self._groups, {}
            asker, self._asker = self._asker, None
            self._producer = None
        for partition in consumers.values():
            partition.close()
        for consumer in (*groups.values(), *([asker] if asker is not None else [])):
            consumer.close()

    def _produce(
        self, producer: Producer, topic: str, partition: int, record: bytes, key: str | None, batch: _Batch
    ) -> None:
        """Hand one record to librdkafka; wait for room when its queue is full."""
        while True:
            try:
                producer.produce(self._prefix + topic, record, key=key, partition=partition, on_delivery=batch.answered)
            except BufferError:
                if self._closed.wait(0.005):
                    raise LogUnavailableError("the log was closed") from None
            except KafkaException as error:
                # Too large, or a broken producer: the rest of the batch is not sent, what was sent may be there.
                self._drop_when_broken(producer, error.args[0])
                raise unavailable(f"writing {topic}/{partition}", error.args[0]) from error
            else:
                return

    def _drop_when_broken(self, producer: Producer, error: KafkaError) -> None:
        """A fatal error ends an idempotent producer for good; the next append makes a new one."""
        if error.fatal():
            with self._lock:
                if self._producer is producer:
                    self._producer = None

    def _poll(self) -> None:
        """Hand deliveries to their batches."""
        while not self._closed.is_set():
            producer = self._producer
            if producer is None:
                self._closed.wait(0.01)
            else:
                producer.poll(0.1)

    def _producing(self) -> Producer:
        with self._lock:
            if self._producer is None:
                own = {
                    "enable.idempotence": True,
                    "acks": "all",
                    "linger.ms": 1,
                    "compression.type": "lz4",
                    "queue.buffering.max.kbytes": _QUEUE_KBYTES,
                    "queue.buffering.max.messages": 500_000,
                    "delivery.timeout.ms": round(self._delivery_s * 1_000),
                    "request.timeout.ms": round(min(self._delivery_s, 10.0) * 1_000),
                }
                self._producer = Producer({**self._config, **own})
            return self._producer

    def _asking(self) -> Consumer:
        """The consumer that asks for metadata and offsets; it reads nothing."""
        with self._lock:
            if self._asker is None:
                self._asker = Consumer({**self._config, "group.id": "penstock-ask"})
            return self._asker

    def _reading(self, topic: str, partition: int) -> PartitionConsumers:
        with self._lock:
            found = self._consumers.get((topic, partition))
            if found is None:
                found = PartitionConsumers(self._config, self._prefix + topic, partition)
                self._consumers[topic, partition] = found
            return found

    def _group(self, group: str) -> Consumer:
        with self._lock:
            found = self._groups.get(group)
            if found is None:
                if len(self._groups) >= _GROUPS_MAX:
                    raise ValueError(f"more than {_GROUPS_MAX} groups in one process")
                own = {"group.id": group, "enable.auto.commit": False}
                found = self._groups[group] = Consumer({**self._config, **own})
            return found
