"""Records of the topics as Arrow tables with the columns of the ClickHouse tables."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from schemas.campaigns import Campaign
from schemas.control import CampaignRecord, decode_control
from schemas.corrections import COUNTERS, Applied, decode_applied
from schemas.dead_letters import DeadLetter
from schemas.decisions import Decision, decode_decision
from schemas.kpis import LEVELS, NUMBERS, WINDOWS, KpiBatch, Packed
from schemas.unreadable import UNREADABLE
from storage import metrics

_log = logging.getLogger(__name__)

Record = TypeVar("Record")

MILLIS: Final = pa.timestamp("ms", tz="UTC")
_KPI_COUNTS: Final = ("impressions", "clicks", "conversions", "leads", "reach", "version")
_KPI_MICROS: Final = ("spend_micros", "revenue_micros")

# Columns of `corrections` that are texts, and the fields they are from.
_WORDS: Final = (
    *((name, name) for name in ("correction_id", "org_id", "campaign_id", "cause", "grain", "creative_id", "channel")),
    *((name, name) for name in ("country", "device", "event_id", "note")),
    ("noted_by", "by"),
)

_kpi_decoder: Final = msgspec.json.Decoder(KpiBatch)
_NOTHING: Final = Packed(0, 1, b"")
_NO_NUMBERS: Final[dict[str, Any]] = dict.fromkeys(NUMBERS, _NOTHING)
_NO_KPIS: Final = KpiBatch(owners=[], owner=_NOTHING, level=_NOTHING, window=_NOTHING, **_NO_NUMBERS)
_dead_letter_decoder: Final = msgspec.json.Decoder(DeadLetter)


def decoded(topic: str, records: Sequence[bytes], decode: Callable[[bytes], Record]) -> list[Record]:
    """The records decoded; one that is not what the topic holds is left out, counted and logged."""
    kept = []
    for raw in records:
        try:
            kept.append(decode(raw))
        except UNREADABLE as error:
            metrics.BAD_RECORDS.labels(topic).inc()
            _log.warning("a record of topic %s was left out: %s", topic, error)
    return kept


def kpi_table(records: Sequence[bytes]) -> pa.Table:
    """Rows of `kpi_windows`."""
    batches = decoded("kpis", records, _whole_kpis)
    tables = [_kpi_table(batch) for batch in batches] or [_kpi_table(_NO_KPIS)]
    return pa.concat_tables(tables).combine_chunks()


def _whole_kpis(record: bytes) -> KpiBatch:
    batch = _kpi_decoder.decode(record)
    batch.check()
    return batch


def _kpi_table(batch: KpiBatch) -> pa.Table:
    owner, level, window = (codes.numbers() for codes in (batch.owner, batch.level, batch.window))
    named, codes = batch.named()
    texts = pa.array(named, pa.string())
    columns = {name: texts.take(pa.array(of_owner[owner])) for name, of_owner in codes.items()}
    columns["level"] = pa.array([level.value for level in LEVELS], pa.string()).take(pa.array(level))
    columns["window"] = pa.array([window.value for window in WINDOWS], pa.string()).take(pa.array(window))
    columns |= {name: pa.array(getattr(batch, name).numbers().astype(np.uint64)) for name in _KPI_COUNTS}
    columns |= {name: pa.array(getattr(batch, name).numbers()) for name in _KPI_MICROS}
    for name in ("window_start", "window_end"):
        columns[name] = pa.array(getattr(batch, f"{name}_ms").numbers()).cast(MILLIS)
    return pa.table(columns)


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def decision_table(records: Sequence[bytes]) -> pa.Table:
    """Rows of `decisions`."""
    rows = decoded("decisions", records, decode_decision)

    def texts(value: Callable[[Decision], str]) -> pa.Array:
        return pa.array([value(row) for row in rows], pa.string())

    plain = ("decision_id", "org_id", "campaign_id", "kind", "reason", "policy", "mode")
    columns = {name: pa.array([getattr(row, name) for row in rows], pa.string()) for name in plain}
    columns |= {
        "ts": pa.array([row.ts_ms for row in rows], MILLIS),
        "effective": pa.array([row.effective_ms for row in rows], MILLIS),
        "before": texts(lambda row: _json(row.before)),
        "after": texts(lambda row: _json(row.after)),
        "inputs": texts(lambda row: _json(row.inputs)),
        "expected": texts(lambda row: _json(row.expected)),
        "undo": texts(lambda row: "" if row.undo is None else _json(row.undo)),
        "cause_event": texts(lambda row: row.cause_event or ""),
        "sequence": pa.array([row.sequence for row in rows], pa.uint64()),
    }
    return pa.table(columns)


def dead_letter_table(records: Sequence[bytes]) -> pa.Table:
    """Rows of `dead_letters`."""
    rows = decoded("events.dlq", records, _dead_letter_decoder.decode)
    texts = ("dead_letter_id", "org_id", "reason", "field", "detail", "raw", "source")
    columns = {name: pa.array([getattr(row, name) for row in rows], pa.string()) for name in texts}
    columns["ts"] = pa.array([row.ts_ms for row in rows], MILLIS)
    columns["raw_bytes"] = pa.array([row.raw_bytes for row in rows], pa.uint64())
    return pa.table(columns)


def _definition(raw: bytes) -> tuple[CampaignRecord, Campaign] | None:
    record = decode_control(raw)
    return (record, record.definition()) if isinstance(record, CampaignRecord) else None


def _moment(instant_ms: int | None) -> datetime | None:
    return None if instant_ms is None else datetime.fromtimestamp(instant_ms / 1_000, UTC)


def campaign_table(records: Sequence[bytes]) -> pa.Table:
    """Rows of `campaigns`, from the definitions among records of topic `control`."""
    rows = [row for row in decoded("control", records, _definition) if row is not None]
    budgets = ("daily_budget_micros", "weekly_budget_micros", "total_budget_micros")
    columns = {
        name: pa.array([getattr(campaign, name) for _, campaign in rows], pa.string())
        for name in ("org_id", "campaign_id", "name", "currency", "time_zone")
    }
    columns |= {name: pa.array([getattr(campaign, name) for _, campaign in rows], pa.int64()) for name in budgets}
    columns |= {
        "start": pa.array([_moment(campaign.start_ms) for _, campaign in rows], MILLIS),
        "end": pa.array([_moment(campaign.end_ms) for _, campaign in rows], MILLIS),
        "status": pa.array([campaign.status.value for _, campaign in rows], pa.string()),
        "definition": pa.array([json.dumps(record.campaign, sort_keys=True) for record, _ in rows], pa.string()),
        "changed_by": pa.array([record.changed_by for record, _ in rows], pa.string()),
        "changed": pa.array([record.changed_ms for record, _ in rows], MILLIS),
        "version": pa.array([record.version for record, _ in rows], pa.uint64()),
    }
    return pa.table(columns)


def _whole_applied(record: bytes) -> Applied:
    applied = decode_applied(record)
    for correction in applied.corrections:
        correction.check()
    return applied


def _flags(applied: Applied) -> list[tuple[int, int]]:
    """Of each correction, whether it is late and whether it was refused, as 1 or 0."""
    late, refused = frozenset(applied.late), frozenset(applied.refused)
    return [(int(place in late), int(place in refused)) for place in range(len(applied.corrections))]


def correction_table(records: Sequence[bytes]) -> pa.Table:
    """Rows of `corrections`."""
    rows = [
        (correction, applied, flags)
        for applied in decoded("corrections.applied", records, _whole_applied)
        for correction, flags in zip(applied.corrections, _flags(applied), strict=True)
    ]
    columns = {column: pa.array([getattr(row, field) for row, _, _ in rows], pa.string()) for column, field in _WORDS}
    columns |= {name: pa.array([getattr(row, name) for row, _, _ in rows], pa.int64()) for name in COUNTERS}
    columns |= {
        "ts": pa.array([row.ts_ms for row, _, _ in rows], MILLIS),
        "noted": pa.array([row.noted_ms for row, _, _ in rows], MILLIS),
        "applied": pa.array([applied.now_ms for _, applied, _ in rows], MILLIS),
        "late": pa.array([late for _, _, (late, _) in rows], pa.uint8()),
        "refused": pa.array([refused for _, _, (_, refused) in rows], pa.uint8()),
        "log_partition": pa.array([applied.partition for _, applied, _ in rows], pa.uint16()),
    }
    return pa.table(columns)
