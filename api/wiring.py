"""What the api is made of: built once at the edge, frozen, handed to the app."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from api.auth import ApiKeys
from api.correction_history import CorrectionHistory
from api.decision_history import DecisionArchive
from api.kpis import KpiReader
from api.landing import LandingHosts
from api.log_health import LogHealth
from api.perimeter import CorsOrigins
from api.rate_limit import RateLimit, Unlimited
from control.store import ControlStore
from ingest.formats.mapping import Mapping as EventMapping
from ingest.letter_budget import LetterBudget
from schemas.health import Progress
from schemas.live import ProcessStatus
from schemas.log import Log


class EventSink(Protocol):
    """Takes records of many requests and makes them durable together (`ingest.group_commit.GroupCommit`)."""

    async def append(self, topic: str, partition: int, records: Sequence[bytes], *, owner: str = "") -> int:
        """Return once the records are durable; raises Backlogged when too much waits, LogUnavailableError."""
        ...


@dataclass(frozen=True, slots=True)
class OpenRtb:
    """What our own bidder needs beside the api's parts."""

    # Signs notices; the same on every replica.
    secret: bytes
    # Where exchanges reach us, for notice addresses.
    base_url: str
    # Units of a currency for one US dollar.
    rates: Mapping[str, float]
    # Uniform numbers in [0, 1), for pacing.
    draw: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Wiring:
    """Every part that routes use; None where a part is not configured."""

    log: Log
    sink: EventSink
    store: ControlStore
    # Milliseconds since 1970; an argument, so that tests move it by hand.
    now_ms: Callable[[], int]
    keys: ApiKeys = field(default_factory=ApiKeys)
    cors: CorsOrigins = field(default_factory=CorsOrigins)
    metrics_key: str = ""
    landing_hosts: LandingHosts = field(default_factory=LandingHosts)
    rate_limit: RateLimit = field(default_factory=Unlimited)
    kpis: KpiReader | None = None
    archive: DecisionArchive | None = None
    corrections: CorrectionHistory | None = None
    openrtb: OpenRtb | None = None
    # What is taken of Segment's, GA4's and Snowplow's events, and of tables.
    event_mapping: EventMapping = field(default_factory=lambda: EventMapping.load(None))
    version: str = ""
    log_health: LogHealth = field(default_factory=LogHealth)
    letters: LetterBudget = field(default_factory=lambda: LetterBudget(time.monotonic))
    # What this process reports of itself; the loops turn it.
    progress: Progress = field(default_factory=Progress)
    # Reports of other processes of this machine: `storage.run_folder.read_all`; none where nobody keeps them.
    reports: Callable[[], Sequence[tuple[ProcessStatus, float]]] = lambda: ()
    # Parts that must be well for /readyz to say so, beside the api's own.
    ready_parts: frozenset[str] = frozenset({"log", "control", "serving"})
