"""Plausible live rows and decisions, for tests of what shows them."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas import topics
from schemas.decisions import Decision, Effect, Kind, Reason, decision_id, encode_decision
from schemas.kpis import Counters
from schemas.live import BudgetState, CampaignLive, FlowStatus, LiveFrame, StoreStatus, Verification, encode_live
from schemas.log import Log
from tests.support.decisions import decision_of

UNIT = 1_000_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000


def counters(impressions: int) -> Counters:
    """Counters of a healthy campaign with so many impressions: CTR 2%, CPM 5.00, one conversion in 20 clicks."""
    clicks = impressions // 50
    conversions = clicks // 20
    return Counters(
        impressions=impressions,
        clicks=clicks,
        conversions=conversions,
        leads=conversions // 2,
        spend_micros=impressions * 5_000,
        revenue_micros=conversions * 14 * UNIT,
        reach=impressions * 4 // 5,
    )


def live_row(campaign_id: str, impressions: int, now_ms: int, **changed: Any) -> CampaignLive:
    """A campaign that has shown so many impressions today, with a daily budget of 500.00."""
    today = counters(impressions)
    window_ms = now_ms // 10_000 * 10_000
    row = CampaignLive(
        org_id="default",
        campaign_id=campaign_id,
        name=f"Campaign {campaign_id}",
        currency="EUR",
        time_zone="Europe/Berlin",
        state="active",
        state_reason=None,
        version=1,
        watermark_ms=now_ms,
        now_ms=now_ms,
        today=today,
        total=today,
        rolling={
            "1m": counters(impressions // 50),
            "5m": counters(impressions // 10),
            "1h": counters(impressions // 2),
            "24h": today,
        },
        windows=[(window_ms - 10_000, counters(900 + impressions % 300)), (window_ms, counters(impressions % 1_000))],
        budgets=[budget("day", 500 * UNIT, today.spend_micros, now_ms)],
    )
    for name, value in changed.items():
        setattr(row, name, value)
    return row


def budget(period: str, budget_micros: int, spent_micros: int, now_ms: int) -> BudgetState:
    """A budget whose period began at UTC midnight."""
    start_ms = now_ms // DAY_MS * DAY_MS
    return BudgetState(
        period=period,
        budget_micros=budget_micros,
        spent_micros=spent_micros,
        in_flight_micros=spent_micros // 200,
        period_start_ms=start_ms,
        period_end_ms=None if period == "total" else start_ms + DAY_MS,
    )


def pause(campaign_id: str, now_ms: int, step: int = 0) -> Decision:
    """The pause of a campaign whose daily budget is spent."""
    kind, reason = Kind.PAUSE, Reason.DAILY_BUDGET_REACHED
    return decision_of(
        decision_id=decision_id("default", campaign_id, kind, reason, now_ms, step),
        org_id="default",
        campaign_id=campaign_id,
        kind=kind.value,
        reason=reason.value,
        ts_ms=now_ms,
        effective_ms=now_ms,
        before={"state": "active"},
        after={"state": "paused"},
        inputs={"spend_micros": 500 * UNIT, "budget_micros": 500 * UNIT, "in_flight_micros": 2_500_000},
        policy="budget/1",
        expected=[Effect(measure="spend_micros", expected=0.0, low=0.0, high=2_500_000.0)],
        undo={"kind": "resume", "after": {"state": "active"}},
        cause_event="evt-1",
    )


def set_bid(campaign_id: str, now_ms: int, before_micros: int, after_micros: int) -> Decision:
    """A bid that goes up because delivery is behind."""
    kind, reason = Kind.SET_BID, Reason.PACING_BEHIND
    return decision_of(
        decision_id=decision_id("default", campaign_id, kind, reason, now_ms),
        org_id="default",
        campaign_id=campaign_id,
        kind=kind.value,
        reason=reason.value,
        ts_ms=now_ms,
        effective_ms=now_ms,
        before={"bid_micros": before_micros},
        after={"bid_micros": after_micros},
        inputs={"gap_share": -0.07, "traffic_left": 0.48, "log_goal": 0.113},
        policy="max_clicks/1",
        expected=[Effect(measure="clicks", expected=14.0, low=9.0, high=19.0)],
        undo={"kind": "set_bid", "after": {"bid_micros": before_micros}},
    )


def flow_status(now_ms: int, **changed: Any) -> FlowStatus:
    """A flow that keeps up."""
    status = FlowStatus(
        now_ms=now_ms,
        worker=0,
        events_per_second=812.0,
        lag_records=0,
        lag_bytes=0,
        watermark_ms=now_ms,
        dead_letters=3,
        duplicates=14,
        late=1,
        epoch_ms=38.0,
    )
    for name, value in changed.items():
        setattr(status, name, value)
    return status


def verification(at_ms: int, **changed: Any) -> Verification:
    """A comparison of half a million events that found all of them there."""
    found = Verification(
        at_ms=at_ms, by="store", from_ms=at_ms - 3_600_000, to_ms=at_ms - 60_000, events=500_000, rows=12_000,
        missing=0, repaired=0,
    )  # fmt: skip
    return msgspec.structs.replace(found, **changed)


def store_status(
    now_ms: int,
    state: str = "ok",
    error: str | None = None,
    lag_records: int = 0,
    verified: Verification | None = None,
) -> StoreStatus:
    """The state of the writer into ClickHouse."""
    return StoreStatus(now_ms=now_ms, state=state, lag_records=lag_records, error=error, verification=verified)


def feed(log: Log, *records: CampaignLive | FlowStatus | StoreStatus | Verification | Decision) -> None:
    """Append records to the topics they belong to; rows become one live frame."""
    rows = [record for record in records if isinstance(record, CampaignLive)]
    if rows:
        log.append(topics.LIVE, 0, [encode_live(LiveFrame(now_ms=rows[-1].now_ms, rows=rows))])
    statuses = [
        encode_live(record) for record in records if isinstance(record, FlowStatus | StoreStatus | Verification)
    ]
    if statuses:
        log.append(topics.LIVE, 0, statuses)
    decisions = [record for record in records if isinstance(record, Decision)]
    if decisions:
        keys = [decision.campaign_id for decision in decisions]
        log.append(topics.DECISIONS, 0, [encode_decision(decision) for decision in decisions], keys=keys)
