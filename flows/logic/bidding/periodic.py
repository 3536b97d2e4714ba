"""What is looked at every ten minutes of a campaign's clock: bid modifiers by segment, budgets within a portfolio."""

from __future__ import annotations

from typing import Final

import numpy as np

from bidding.portfolio import Member, Move, Reallocation, reallocate
from bidding.proposal import Proposal
from bidding.segments import Seen, bid_modifiers
from flows.logic.bidding.state import BiddingState, same_change
from flows.logic.budgets.kinds import DAY
from flows.logic.campaigns.registry import OTHER, Registry
from flows.logic.output.text_codes import coded
from flows.logic.windows import layout as at
from flows.logic.windows.arrays import Arrays
from schemas.decision_parts import BudgetChange, Effect, ModifiersChange, PortfolioInputs, SegmentInputs
from schemas.decisions import Kind, Reason

BEAT_MS: Final = 600_000
# Each day leaves this much weight to the days before: some three weeks count.
_KEPT_A_DAY: Final = 0.95
# Places in SeriesKey. Bids are not modified by creative: a platform has one bid for all of an ad group.
_DIMENSIONS: Final = {"channel": 3, "country": 4, "device": 5}
# So many values of a dimension are told apart; what comes later in the alphabet has no modifier.
_VALUES_MAX: Final = 200

Segments = dict[str, Seen]


def segments_of_day(
    arrays: Arrays, registry: Registry, slots: list[int], counts_conversions: bool
) -> dict[int, Segments]:
    """What each segment of the campaigns was given today and what came of it, by "dimension=value".

    Impressions and clicks, or clicks and conversions; from the day windows of their series, which must be flushed.
    """
    s, counters = arrays.state, at.columns(arrays.state.counters)
    wanted = np.zeros(arrays.campaigns, np.bool_)
    wanted[slots] = True
    owner = arrays.series_used()["campaign"]
    rows = np.flatnonzero((owner >= 0) & wanted[owner])
    windows = s.series_heads[rows, at.DAY]
    today = (windows >= 0) & (counters["start_ms"][windows] == arrays.campaigns_used()["day_start_ms"][owner[rows]])
    given, came = ("clicks", "conversions") if counts_conversions else ("impressions", "clicks")
    of_today = windows[today]
    counted = np.stack([counters[given][of_today], counters[came][of_today]], axis=1)
    campaigns = owner[rows[today]]
    found: dict[int, Segments] = {slot: {} for slot in slots}
    starts, lengths = registry.places(np.empty(0, np.int32), rows[today])
    for dimension, place in _DIMENSIONS.items():
        texts, codes = coded(registry.text, starts[:, place], lengths[:, place])
        pairs, pair = np.unique(campaigns.astype(np.int64) * len(texts) + codes, return_inverse=True)
        sums = np.zeros((len(pairs), 2), np.int64)
        np.add.at(sums, pair, counted)
        # Corrections may have taken back more than came today.
        np.maximum(sums, 0, out=sums)
        for (exposure, events), both in zip(sums.tolist(), pairs.tolist(), strict=True):
            slot, code = divmod(both, len(texts))
            if texts[code] and texts[code] != OTHER:
                found[slot][f"{dimension}={texts[code]}"] = Seen(float(exposure), float(events))
    return {slot: dict(sorted(segments.items())) for slot, segments in found.items()}


def follow_day(state: BiddingState, day_start_ms: int, today: Segments) -> None:
    """Take over today's segments so far; yesterday's last look joins the past when a day begins."""
    if day_start_ms > state.segment_day_ms:
        state.segments = _joined(state.segments, state.segments_today, _KEPT_A_DAY)
    state.segment_day_ms, state.segments_today = day_start_ms, today


def _joined(past: Segments, today: Segments, kept: float) -> Segments:
    names = sorted(past.keys() | today.keys())
    nothing = Seen(0.0, 0.0)
    joined = {}
    for name in names:
        before, now = past.get(name, nothing), today.get(name, nothing)
        joined[name] = Seen(kept * before.exposure + now.exposure, kept * before.events + now.events)
    return joined


def modifiers_now(state: BiddingState) -> dict[str, float]:
    """The modifiers that all days together call for, dimension by dimension."""
    known = _joined(state.segments, state.segments_today, 1.0)
    modifiers: dict[str, float] = {}
    for dimension in _DIMENSIONS:
        names = [name for name in known if name.startswith(dimension + "=")][:_VALUES_MAX]
        if len(names) > 1:
            modifiers |= bid_modifiers({name: known[name] for name in names})
    return modifiers


def modifier_proposals(state: BiddingState, clock_ms: int, step: int) -> list[Proposal]:
    """Set the modifiers where they differ from those in force by enough to matter."""
    wanted = modifiers_now(state)
    if same_change(wanted, state.modifiers):
        return []
    known = _joined(state.segments, state.segments_today, 1.0)
    seen = {name: [round(known[name].exposure, 3), round(known[name].events, 3)] for name in wanted if name in known}
    return [
        Proposal(
            kind=Kind.SET_BID_MODIFIERS,
            reason=Reason.SEGMENT_RESPONSE,
            ts_ms=clock_ms,
            step=step,
            before=ModifiersChange(state.modifiers),
            after=ModifiersChange(wanted),
            inputs=SegmentInputs(exposure_and_events=seen),
        )
    ]


def portfolio_proposals(
    members: list[tuple[str, BiddingState, np.void]], outcome: str, clock_ms: int
) -> dict[str, Proposal]:
    """Daily budgets to move between campaigns of a portfolio, by campaign; `members` have id, state and row."""
    asked = [
        Member(
            campaign_id=campaign_id,
            budget_micros=int(row[DAY.limit]),
            spend_micros=round(state.week_spend),
            events=state.week_events,
            limited=_is_limited(row),
        )
        for campaign_id, state, row in members
        if row[DAY.limit] != at.FAR_MS
    ]
    found = reallocate(asked)
    if found is None:
        return {}
    steps = {c: 0 if s.controller is None else s.controller.step for c, s, _ in members}
    return {
        move.campaign_id: _proposal(move, found, outcome, clock_ms, steps[move.campaign_id]) for move in found.moves
    }


def _proposal(move: Move, found: Reallocation, outcome: str, clock_ms: int, step: int) -> Proposal:
    gain, low, high = round(found.gain, 6), round(found.gain_low, 6), round(found.gain_high, 6)
    return Proposal(
        kind=Kind.SET_BUDGET,
        reason=Reason.REALLOCATION,
        ts_ms=clock_ms,
        step=step,
        before=BudgetChange(daily_budget_micros=move.before_micros),
        after=BudgetChange(daily_budget_micros=move.after_micros),
        inputs=PortfolioInputs(moves={m.campaign_id: m.after_micros - m.before_micros for m in found.moves}),
        expected=(Effect(f"{outcome}_a_day_of_all_moves", gain, low, high),),
    )


def _is_limited(row: np.void) -> bool:
    """Whether the campaign spends its daily budget: today it is at least nine tenths of the way that the clock is."""
    day_ms = max(int(row["day_end_ms"] - row["day_start_ms"]), 1)
    gone = min(max(int(row["watermark_ms"] + row["behind_ms"] - row["day_start_ms"]) / day_ms, 0.0), 1.0)
    return bool(row[DAY.spent] + row["reserve"] >= 0.9 * gone * int(row[DAY.limit]))
