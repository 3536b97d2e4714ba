"""Live rows: what the dataflow and the store tell browsers through topic `live`. Losing one is harmless."""

from __future__ import annotations

import msgspec

from schemas.kpis import Counters


class BudgetState(msgspec.Struct, kw_only=True):
    """One budget and what is spent of it in its current period."""

    period: str  # "day", "week" or "total"
    budget_micros: int
    spent_micros: int
    in_flight_micros: int
    period_start_ms: int
    # None for a total budget without an end.
    period_end_ms: int | None


class CampaignLive(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The state of one campaign now; complete in itself, so that the last row of a campaign is all one needs."""

    org_id: str
    campaign_id: str
    name: str
    currency: str
    time_zone: str
    # "active", "paused", "scheduled", "ended", "unknown" (events without a definition)
    state: str
    state_reason: str | None
    # Version of the definition it follows.
    version: int
    # Event-time watermark of the campaign, and the log clock when this row was made.
    watermark_ms: int
    now_ms: int
    today: Counters
    total: Counters
    rolling: dict[str, Counters]
    # The newest 10 s window and the one before, for spark lines: (window_start_ms, counters).
    windows: list[tuple[int, Counters]]
    budgets: list[BudgetState]
    # What bidding has set; empty without a strategy.
    bidding: dict[str, float | int | str | None] = {}


def spendable_of(row: CampaignLive) -> int | None:
    """What is left of the tightest budget, less what is in flight; None without a budget."""
    left = [budget.budget_micros - budget.spent_micros - budget.in_flight_micros for budget in row.budgets]
    return max(0, min(left)) if left else None


class LiveFrame(msgspec.Struct, kw_only=True, tag="campaigns", tag_field="kind"):
    """Rows of campaigns that changed."""

    now_ms: int
    rows: list[CampaignLive]


class FlowStatus(msgspec.Struct, kw_only=True, tag="flow", tag_field="kind"):
    """How the dataflow is doing, once a second."""

    now_ms: int
    worker: int
    events_per_second: float
    lag_records: int
    lag_bytes: int
    watermark_ms: int
    dead_letters: int
    duplicates: int
    late: int
    epoch_ms: float
    # Campaigns and series beyond an organisation's bounds, counted under `~other`; which organisations': metrics say.
    folded: int = 0
    # Corrections that came into force, those of them in windows that were closed, and those without effect: refused,
    # known already, or in another partition than their campaign's.
    corrections: int = 0
    corrections_late: int = 0
    corrections_left: int = 0


class Verification(msgspec.Struct, kw_only=True, tag="verification", tag_field="kind"):
    """The log compared with ClickHouse: when, by whom ("store" or "doctor"), events of which times, what was found."""

    at_ms: int
    by: str
    # Times of the events compared; 0 where there were none.
    from_ms: int
    to_ms: int
    # Events compared, and rows of the other tables.
    events: int
    rows: int
    # Of both: what was not in ClickHouse, and what of it is there again.
    missing: int
    repaired: int


class StoreStatus(msgspec.Struct, kw_only=True, tag="store", tag_field="kind"):
    """How the writer into ClickHouse is doing; `error` is None when all is well."""

    now_ms: int
    state: str  # "ok", "behind" or "down"
    lag_records: int
    error: str | None
    # The store's last comparison with the log that compared anything.
    verification: Verification | None = None
    # Seconds for which ClickHouse may be away before the log, at its present rate, drops what is not stored; None:
    # not known, as on Kafka.
    reach_s: float | None = None


class LoopStatus(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One working loop of a process."""

    name: str
    # Units of work done since the process began, and units that wait now (0: idle).
    done: int = 0
    waiting: int = 0
    # Seconds for which it has not turned, or has turned and done nothing though work waits.
    quiet_s: float = 0.0
    # What outside the process it waits for, and since how many seconds; empty: nothing.
    blocked: str = ""
    blocked_s: float = 0.0


class Ending(msgspec.Struct, kw_only=True):
    """How a process ended that was not asked to."""

    at_ms: int
    reason: str


class ProcessStatus(msgspec.Struct, kw_only=True, omit_defaults=True, tag="process", tag_field="kind"):
    """What a process says of its progress, once a second; `schemas.health.judge` says what to think of it."""

    now_ms: int
    process: str  # "api", "flow", "flow-1", "store", "actuate", "clickhouse", "demo"
    host: str
    pid: int
    started_ms: int
    # Counts the reports of this process.
    beat: int
    state: str  # "starting", "running", "stopped" (was asked to end) or "ended" (was not)
    reason: str = ""
    # Sums over the loops.
    progress: int = 0
    waiting: int = 0
    loops: list[LoopStatus] = []
    # Of the last ten minutes, oldest first.
    endings: list[Ending] = []


LiveRecord = LiveFrame | FlowStatus | StoreStatus | ProcessStatus | Verification

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[LiveRecord] = msgspec.json.Decoder(LiveRecord)


def encode_live(record: LiveRecord) -> bytes:
    """The bytes of one record of topic `live`."""
    return _encoder.encode(record)


def decode_live(record: bytes) -> LiveRecord:
    """The live record in the bytes; raises one of `UNREADABLE` on anything else."""
    return _decoder.decode(record)
