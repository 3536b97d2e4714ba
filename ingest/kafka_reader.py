"""Reading one partition of a Kafka topic from any offset: consumers that stay where they stand, without a group."""

from __future__ import annotations

import threading
import time
from typing import Any, Final, NamedTuple

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from numpy.typing import NDArray

from schemas.log import LogUnavailableError, OffsetGoneError

# Fetched ahead for a reader; with it a slow reader costs this much memory and no more.
AHEAD_KBYTES: Final = 16_384
# Messages taken from librdkafka in one call.
_TAKE_MAX: Final = 50_000
# How long a watermark query may take before the broker counts as away.
QUERY_S: Final = 10.0
# A topic just made, or a broker just lost: the next leader is known in a moment.
_LEADER_MOVES: Final = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.FENCED_LEADER_EPOCH,
)
# Readers of one partition at different places that keep a consumer each.
_CONSUMERS_MAX: Final = 3


class Messages(NamedTuple):
    """Values and offsets of some consecutive messages, and the offset to go on from."""

    values: list[bytes]
    offsets: NDArray[np.int64]
    next_offset: int


class PartitionConsumer:
    """One consumer, assigned to one partition, that knows the offset it stands at."""

    def __init__(self, config: dict[str, Any], topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.offset = -1
        self._trouble: KafkaError | None = None
        self._mean_bytes = 512.0
        self._ahead: list[Any] = []
        own = {"group.id": "penstock-read", "enable.auto.commit": False, "auto.offset.reset": "error"}
        fetch = {
            "queued.max.messages.kbytes": AHEAD_KBYTES,
            # The default waits a second once the queue was full: that is a stall for a reader that catches up.
            "fetch.queue.backoff.ms": 20,
            "fetch.error.backoff.ms": 100,
            # A fetch that waits at the tail holds up the first one after a jump to another offset.
            "fetch.wait.max.ms": 100,
        }
        self._consumer = Consumer({**config, **own, **fetch, "error_cb": self._note_trouble})

    def read(self, offset: int, max_bytes: int, timeout_s: float) -> Messages | None:
        """Messages from `offset` on, tombstones left out. Raises OffsetGoneError, LogUnavailableError."""
        if offset != self.offset:
            self._consumer.assign([TopicPartition(self.topic, self.partition, offset)])
            self.offset, self._ahead = offset, []
        deadline = time.monotonic() + timeout_s
        while True:
            taken = self._take(max_bytes, max(0.0, deadline - time.monotonic()))
            if taken:
                found = self._shortened(taken, max_bytes)
                if found.values:
                    return found
            elif time.monotonic() >= deadline:
                self._must_be_reachable()
                return None

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def _take(self, max_bytes: int, wait_s: float) -> list[Any]:
        """Messages that are there; the first is waited for, the others are not."""
        wanted = max(1, min(_TAKE_MAX, int(max_bytes / self._mean_bytes)))
        taken, self._ahead = self._ahead, []
        if not taken:
            taken = self._checked(self._consumer.consume(1, wait_s))
        if taken and len(taken) < wanted:
            taken += self._checked(self._consumer.consume(wanted - len(taken), 0))
        return taken

    def _checked(self, messages: list[Any]) -> list[Any]:
        for message in messages:
            error = message.error()
            if error is not None:
                offset, self.offset = self.offset, -1
                self._raise(error, offset)
        if messages:
            self._trouble = None
        return messages

    def _raise(self, error: KafkaError, offset: int) -> None:
        gone = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)
        if error.code() in gone:
            begin, _ = watermarks(self._consumer, self.topic, self.partition)
            raise OffsetGoneError(self.topic, self.partition, offset, begin)
        raise unavailable(f"reading {self.topic}/{self.partition}", error)

    def _shortened(self, taken: list[Any], max_bytes: int) -> Messages:
        """The messages that fit; what does not is kept for the next read."""
        values = [message.value() for message in taken]
        ends = np.cumsum(
            np.fromiter((1 if value is None else len(value) + 1 for value in values), np.int64, len(taken))
        )
        self._mean_bytes = max(16.0, float(ends[-1]) / len(taken))
        fitting = max(1, int(np.searchsorted(ends, max_bytes, "right")))
        taken, self._ahead = taken[:fitting], taken[fitting:]
        self.offset = taken[-1].offset() + 1
        offsets = np.fromiter((message.offset() for message in taken), np.int64, fitting)
        kept = [value for value in values[:fitting] if value is not None]
        if len(kept) < fitting:
            offsets = offsets[[value is not None for value in values[:fitting]]]
        return Messages(kept, offsets, self.offset)

    def _note_trouble(self, error: KafkaError) -> None:
        self._trouble = error

    def _must_be_reachable(self) -> None:
        """After a connection was lost an empty answer proves nothing: ask before saying that there is no record."""
        if self._trouble is None:
            return
        watermarks(self._consumer, self.topic, self.partition)
        self._trouble = None


class PartitionConsumers:
    """The consumers of one partition, one for each place that is read at."""

    def __init__(self, config: dict[str, Any], topic: str, partition: int) -> None:
        self._config = config
        self._topic = topic
        self._partition = partition
        self._lock = threading.Lock()
        self._idle: list[PartitionConsumer] = []
        self._closed = False

    def read(self, offset: int, max_bytes: int, timeout_s: float) -> Messages | None:
        """Read with the consumer that stands at `offset`, else with another one. Errors as in PartitionConsumer."""
        consumer = self._lend(offset)
        try:
            return consumer.read(offset, max_bytes, timeout_s)
        except KafkaException as error:
            consumer.offset = -1
            raise unavailable(f"reading {self._topic}/{self._partition}", error.args[0]) from error
        finally:
            self._give_back(consumer)

    def close(self) -> None:
        """Close those that nobody reads with; the others close when they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for consumer in idle:
            consumer.close()

    def _lend(self, offset: int) -> PartitionConsumer:
        with self._lock:
            for place, consumer in enumerate(self._idle):
                if consumer.offset == offset:
                    return self._idle.pop(place)
            if len(self._idle) >= _CONSUMERS_MAX:
                return self._idle.pop(0)
        return PartitionConsumer(self._config, self._topic, self._partition)

    def _give_back(self, consumer: PartitionConsumer) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < _CONSUMERS_MAX:
                self._idle.append(consumer)
                return
        consumer.close()


def watermarks(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """First offset and the offset behind the last of a partition. Raises LogUnavailableError."""
    deadline = time.monotonic() + QUERY_S
    while True:
        try:
            found = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=QUERY_S, cached=False)
        except KafkaException as error:
            if error.args[0].code() not in _LEADER_MOVES or time.monotonic() > deadline:
                raise unavailable(f"offsets of {topic}/{partition}", error.args[0]) from error
            time.sleep(0.02)
            continue
        if found is None:
            raise LogUnavailableError(f"Kafka did not tell the offsets of {topic}/{partition} within {QUERY_S:g} s")
        begin, end = found
        return int(begin), int(end)


def unavailable(what: str, error: KafkaError) -> LogUnavailableError:
    """Kafka's error as the log's, with what to do about it."""
    if error.code() in (KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART):
        return LogUnavailableError(f"{what}: Kafka has no such topic; run `penstock topics create`")
    if error.code() == KafkaError._UNKNOWN_PARTITION:
        # librdkafka says so too while it has never reached the broker that leads the partition.
        hint = "the brokers cannot be reached, or the topic is missing: `penstock doctor`, `penstock topics create`"
        return LogUnavailableError(f"{what}: {hint}")
    return LogUnavailableError(f"{what}: Kafka says {error.str()}; check the brokers that PENSTOCK_KAFKA names")
