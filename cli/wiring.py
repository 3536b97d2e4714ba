"""Parts made from settings, once a process: what runs embedded and what runs on real servers is decided here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.settings import Settings
    from schemas.log import Log


def open_log(settings: Settings) -> Log:
    """The log that the settings name: Kafka, else the local log below `data_dir`.

    Raises ValueError when the log was made with another number of partitions.
    """
    from cli.private import keep_private

    keep_private(settings.data_dir)
    if settings.kafka:
        from ingest.kafka_log import KafkaLog

        return KafkaLog(settings.kafka, prefix=settings.kafka_prefix, config=settings.kafka_config)
    from ingest.local_log import LocalLog
    from ingest.local_log.quotas import quotas_of

    return LocalLog(
        settings.data_dir / "log",
        partitions=settings.partitions,
        quotas=quotas_of(settings.log_retention_bytes, settings.log_quotas),
        retention_ms=round(settings.log_retention_hours * 3_600_000),
    )


def clickhouse_url(settings: Settings) -> str:
    """The ClickHouse server that the settings name, else this machine's chDB service, with its user's password."""
    from storage.client import service_url
    from storage.password import kept_password

    if settings.clickhouse:
        return settings.clickhouse
    password = settings.clickhouse_password or kept_password(settings.data_dir)
    return service_url(settings.clickhouse_port, password)


def reach_of(log: Log) -> float | None:
    """Seconds for which ClickHouse may be away at the log's present rate; None when that is not known (Kafka)."""
    import time

    from ingest.local_log import LocalLog
    from ingest.local_log.horizon import least_reach

    return least_reach(log.horizons(time.time_ns() // 1_000_000)) if isinstance(log, LocalLog) else None
