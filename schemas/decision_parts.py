"""The parts of decisions that differ by kind: what changes, from which numbers, and what puts it back."""

from __future__ import annotations

from typing import Generic, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET

# A number as it was written: a whole one stays whole.
Number: TypeAlias = int | float
# What a record need not say. Fields below are in the order of the alphabet, as the canonical bytes have them.
_Whole: TypeAlias = int | msgspec.UnsetType
_Text: TypeAlias = str | msgspec.UnsetType
_Measured: TypeAlias = Number | msgspec.UnsetType
C = TypeVar("C")


class Effect(msgspec.Struct, omit_defaults=True):
    """Expected effect on one measure, with the 90% interval."""

    measure: str
    expected: Number
    low: Number
    high: Number


class StateChange(msgspec.Struct, frozen=True):
    """`active` or `paused`."""

    state: str


class BidChange(msgspec.Struct, frozen=True):
    """The bid, in micros a thousand impressions; None where there was none."""

    bid_micros: int | None


class BudgetChange(msgspec.Struct, kw_only=True, frozen=True):
    """Those budgets that change; None where there was none."""

    daily_budget_micros: int | msgspec.UnsetType | None = UNSET
    total_budget_micros: int | msgspec.UnsetType | None = UNSET


class PacingChange(msgspec.Struct, frozen=True):
    """The share of auctions to take part in."""

    pacing_rate: Number


class ModifiersChange(msgspec.Struct, frozen=True):
    """Factors on the bid, by "dimension=value"."""

    modifiers: dict[str, Number]


class AutomationChange(msgspec.Struct, frozen=True):
    """`running` or `halted`."""

    automation: str


class LedgerInputs(msgspec.Struct, kw_only=True):
    """What a pause or a resume was made from: the budget that was reached, if one was, and its period.

    In all inputs: `version` of the definition, the decision that a person `approved` or that was `undone`, and up to
    which override this is the newer word (`replaces_override`).
    """

    approved: _Text = UNSET
    budget_micros: _Whole = UNSET
    in_flight_micros: _Whole = UNSET
    overspend_bound_micros: _Whole = UNSET
    overspend_micros: _Whole = UNSET
    period: _Text = UNSET
    period_start_ms: _Whole = UNSET
    replaces_override: _Whole = UNSET
    reporting_delay_ms: _Whole = UNSET
    spend_micros: _Whole = UNSET
    undone: _Text = UNSET
    version: _Whole = UNSET


class ControllerInputs(msgspec.Struct, kw_only=True):
    """What a bid or a pacing rate was made from: plan and observation of spend, the goal, counters and budgets."""

    approved: _Text = UNSET
    budget_day_micros: _Whole = UNSET
    budget_total_micros: _Whole = UNSET
    budget_week_micros: _Whole = UNSET
    clicks: _Whole = UNSET
    conversions: _Whole = UNSET
    # The campaign's click rate, by which a bid is divided where a platform bids per click.
    ctr: _Measured = UNSET
    gap_share: _Measured = UNSET
    impressions: _Whole = UNSET
    in_flight_micros: _Whole = UNSET
    log_goal: _Measured = UNSET
    observed_micros_per_traffic: _Measured = UNSET
    plan_micros_per_traffic: _Measured | None = UNSET
    replaces_override: _Whole = UNSET
    ruling_budget: _Text | None = UNSET
    spendable_micros: _Whole | None = UNSET
    spent_day_micros: _Whole = UNSET
    spent_total_micros: _Whole = UNSET
    spent_week_micros: _Whole = UNSET
    traffic_left: _Measured = UNSET
    undone: _Text = UNSET
    version: _Whole = UNSET
    wanted_bid_micros: _Whole = UNSET
    worth_cpm_micros: _Whole | None = UNSET


class BreakerInputs(msgspec.Struct, kw_only=True):
    """What stopped automation or let it go on: outcomes beside those that were expected."""

    approved: _Text = UNSET
    expected_outcomes: _Measured = UNSET
    outcomes: _Measured = UNSET
    replaces_override: _Whole = UNSET
    undone: _Text = UNSET
    version: _Whole = UNSET


class SegmentInputs(msgspec.Struct, kw_only=True):
    """What bid modifiers were made from: exposure and events of each segment."""

    approved: _Text = UNSET
    exposure_and_events: dict[str, list[Number]] | msgspec.UnsetType = UNSET
    replaces_override: _Whole = UNSET
    undone: _Text = UNSET
    version: _Whole = UNSET


class PortfolioInputs(msgspec.Struct, kw_only=True):
    """What a budget was made from: by campaign, what is moved in all, in micros."""

    approved: _Text = UNSET
    moves: dict[str, int] | msgspec.UnsetType = UNSET
    replaces_override: _Whole = UNSET
    undone: _Text = UNSET
    version: _Whole = UNSET


Change: TypeAlias = StateChange | BidChange | BudgetChange | PacingChange | ModifiersChange | AutomationChange
Inputs: TypeAlias = LedgerInputs | ControllerInputs | BreakerInputs | SegmentInputs | PortfolioInputs


class Undo(msgspec.Struct, Generic[C], frozen=True):
    """What puts a decision back: the decision of this kind with this `after`."""

    after: C
    kind: str
