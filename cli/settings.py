"""Settings: read once from the environment, frozen, handed down as plain arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import typer
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every `PENSTOCK_*` variable. `docs/settings.md` lists them; a test holds the two together."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_", env_ignore_empty=True, frozen=True, extra="ignore")

    def __init__(self, **given: Any) -> None:
        """Raises typer.BadParameter, one line a variable, when the environment holds what cannot be."""
        try:
            super().__init__(**given)
        except ValidationError as error:
            wrong = (f"PENSTOCK_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
            raise typer.BadParameter("\n".join(wrong)) from None

    data_dir: Path = Field(Path(".penstock"), description="Where the embedded parts keep their files.")
    host: str = Field("127.0.0.1", description="Address the api binds to; anything but loopback needs api_keys.")
    port: int = Field(8000, description="Port of the api.")
    api_keys: str = Field("", description="Comma-separated `key:organisation` pairs; empty: loopback only, no key.")
    write_keys: Path | None = Field(None, description="JSON file of write-only keys for trackers and browsers.")
    event_mapping: Path | None = Field(None, description="TOML or JSON file: events of other formats as ours.")
    metrics_key: str = Field("", description="Opens /metrics and /openapi.json of the api, and nothing else.")
    cors_origins: str = Field("", description="Comma-separated origins of pages that may send events; * is all.")
    trusted_proxies: str = Field("", description="Comma-separated addresses whose X-Forwarded-For is believed.")
    public_url: str = Field("", description="Where exchanges reach the api, for notices; empty: host and port.")
    secret: str = Field("", description="Signs OpenRTB notices, the same on every replica; empty: made in data_dir.")
    exchange_rates: Path | None = Field(None, description="JSON file, units of each currency for one US dollar.")
    landing_hosts: str = Field("", description="Comma-separated hosts that /api/v1/click may redirect to.")
    events_per_second: float | None = Field(
        None, ge=0, description="Events per second of one organisation; 0: no limit; empty: 20,000 where several share."
    )
    kafka: str = Field("", description="Kafka bootstrap servers; empty: the local log in data_dir.")
    kafka_prefix: str = Field("", description="Goes before every topic's name on Kafka.")
    kafka_config: dict[str, str] = Field({}, description="Further librdkafka settings as JSON, such as TLS and SASL.")
    clickhouse: str = Field("", description="ClickHouse URL, http://user:password@host:8123/database; empty: chDB.")
    clickhouse_port: int = Field(8123, description="Port of the chDB service.")
    clickhouse_password: str = Field(
        "", description="Password of the chDB service's user default; empty: made in data_dir."
    )
    clickhouse_analyst_password: str = Field("", description="Password of its read-only user analyst; empty: none.")
    clickhouse_analysts: str = Field(
        "", description="Comma-separated `name:password:organisation`: analysts of the chDB service who see one's rows."
    )
    redis: str = Field("", description="Redis URL; empty: live state in the memory of the api.")
    database: str = Field("", description="SQLAlchemy URL of the control plane; empty: SQLite in data_dir.")
    credentials: Path | None = Field(None, description="JSON file with ad platform credentials; none: dry run.")
    partitions: int = Field(2, ge=1, le=1024, description="Partitions of topic events, fixed when it is made.")
    shards: int = Field(1, ge=1, le=256, description="Shards of the dataflow's state; see `penstock state reshard`.")
    dedupe_ids: int = Field(
        8_388_608, ge=1_024, lt=2**31, description="Events remembered per shard, so that one that comes again is known."
    )
    epoch_seconds: float = Field(10.0, gt=0, description="Time between two snapshots of the dataflow's state.")
    log_retention_hours: float = Field(168.0, gt=0, description="Age at which the local log drops a segment.")
    log_retention_bytes: int = Field(20 * 2**30, gt=0, description="Disk for the local log, divided among its topics.")
    log_quotas: dict[str, int] = Field({}, description="Bytes on disk by topic, as JSON; others have their share.")
    raw_ttl_days: int = Field(90, ge=1, description="Days that raw events stay in ClickHouse.")
    window_ttl_days: int = Field(1826, ge=1, description="Days that KPI windows stay in ClickHouse.")
    log_format: Literal["text", "json"] = Field("text", description="Log entries as text or as JSON, one a line.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level logged.")
    otlp: str = Field("", description="OTLP/HTTP address for OpenTelemetry's spans and metrics; empty: none.")
    ready_parts: str = Field(
        "log,control,serving,flow,store,actuate,clickhouse", description="Parts that must be well for /readyz."
    )
    stuck_seconds: float = Field(60.0, ge=0, description="Without progress so long: `up` restarts; 0: never.")
    metrics_port: int = Field(0, description="First port for the metrics of flow, store and actuate; 0: none.")

    def proxies(self) -> list[str]:
        """The addresses and networks of trusted_proxies."""
        return [part.strip() for part in self.trusted_proxies.split(",") if part.strip()]
