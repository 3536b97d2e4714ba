"""Penstock's topics on Kafka: how each is made, and which groups read them."""

from __future__ import annotations

import time
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from schemas import topics
from schemas.log import LogUnavailableError

# The largest record: one batch of KPI windows.
MESSAGE_BYTES_MAX: Final = 8 * 2**20
ADMIN_S: Final = 20.0
_DAY_MS: Final = 86_400_000
# Replays and a ClickHouse that is away need the past; live rows need none.
_LIVE_RETENTION_MS: Final = 600_000
# Kafka compacts segments that nothing is appended to any more: the words of some 30,000 changes wait for that.
_SERVING_SEGMENT_BYTES: Final = 16 * 2**20


def topic_config(topic: str, *, retention_ms: int) -> dict[str, str]:
    """Kafka's settings for a topic.

    >>> topic_config("control", retention_ms=1)["cleanup.policy"]
    'compact'
    """
    config = {"max.message.bytes": str(MESSAGE_BYTES_MAX)}
    if topic == topics.SERVING:
        # Nobody needs more than the newest record of a key, and each reader begins at the beginning.
        segment = {"segment.bytes": str(_SERVING_SEGMENT_BYTES), "min.cleanable.dirty.ratio": "0.2"}
        return config | {"cleanup.policy": "compact"} | segment
    if topic == topics.CONTROL:
        # Flows that are down for less than a day still find every record they had not read.
        return config | {"cleanup.policy": "compact", "min.compaction.lag.ms": str(_DAY_MS)}
    if topic == topics.LIVE:
        short = str(_LIVE_RETENTION_MS)
        return config | {"cleanup.policy": "delete", "retention.ms": short, "segment.ms": short}
    return config | {"cleanup.policy": "delete", "retention.ms": str(topics.retention_of(topic, retention_ms))}


def ensure_topics(
    bootstrap: str,
    partitions: int,
    *,
    prefix: str = "",
    replication: int = -1,
    retention_ms: int = 7 * _DAY_MS,
    config: dict[str, str] | None = None,
) -> list[str]:
    """Make the topics that are not there; their names. `replication` -1 is the broker's own default.

    Raises ValueError when `events`, `events.order` or `corrections` has another number of partitions,
    LogUnavailableError.
    """
    admin = _admin(bootstrap, config)
    try:
        there = admin.list_topics(timeout=ADMIN_S).topics
    except KafkaException as error:
        raise LogUnavailableError(f"Kafka at {bootstrap} cannot be reached: {error.args[0].str()}") from error
    for topic in topics.PARTITIONED_LIKE_EVENTS:
        found = there.get(prefix + topic)
        if found is not None and len(found.partitions) != partitions:
            raise ValueError(
                f"topic {prefix + topic} has {len(found.partitions)} partitions and not {partitions}: "
                f"set PENSTOCK_PARTITIONS={len(found.partitions)}"
            )
    wanted = [topic for topic in topics.ALL if prefix + topic not in there]
    new = [
        NewTopic(
            prefix + topic,
            num_partitions=partitions if topic in topics.PARTITIONED_LIKE_EVENTS else 1,
            replication_factor=replication,
            config=topic_config(topic, retention_ms=retention_ms),
        )
        for topic in wanted
    ]
    return _created(admin, new) if new else []


def group_names(bootstrap: str, *, config: dict[str, str] | None = None) -> list[str]:
    """The groups that committed offsets. Raises LogUnavailableError."""
    # Kept by a name: a client that nothing refers to takes its requests with it.
    admin = _admin(bootstrap, config)
    try:
        listed = admin.list_consumer_groups(request_timeout=ADMIN_S).result()
    except KafkaException as error:
        raise LogUnavailableError(f"Kafka at {bootstrap} did not list its groups: {error.args[0].str()}") from error
    return sorted(group.group_id for group in listed.valid)


def _admin(bootstrap: str, config: dict[str, str] | None) -> AdminClient:
    settings: dict[str, Any] = {"bootstrap.servers": bootstrap, "log_level": 0, **(config or {})}
    return AdminClient(settings)


def _created(admin: AdminClient, new: list[NewTopic]) -> list[str]:
    made = []
    for name, future in admin.create_topics(new, request_timeout=ADMIN_S).items():
        try:
            future.result()
            made.append(name)
        except KafkaException as error:
            # Another process made it in the meantime.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise LogUnavailableError(f"topic {name} cannot be made: {error.args[0].str()}") from error
    _wait_for_leaders(admin, [topic.topic for topic in new])
    return made


def _wait_for_leaders(admin: AdminClient, names: list[str]) -> None:
    """Return once the brokers know the new topics: the controller answers before they do."""
    deadline = time.monotonic() + ADMIN_S
    while True:
        known = admin.list_topics(timeout=ADMIN_S).topics
        parts = [known[name].partitions.values() if name in known else () for name in names]
        if all(part and all(one.leader >= 0 for one in part) for part in parts):
            return
        if time.monotonic() > deadline:
            raise LogUnavailableError(f"Kafka named no leader for the new topics within {ADMIN_S:g} s")
        time.sleep(0.02)
