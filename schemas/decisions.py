"""Decisions: what changes from what to what, why, from which numbers, by which policy, and how to undo it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from schemas.identity import stable_id


class Kind(StrEnum):
    """What a decision does."""

    PAUSE = "pause"
    RESUME = "resume"
    SET_BID = "set_bid"
    SET_BUDGET = "set_budget"
    SET_PACING = "set_pacing"
    SET_BID_MODIFIERS = "set_bid_modifiers"
    # The strategy's standing: `halt` when the circuit breaker stops automation, `proceed` when it goes on.
    HALT = "halt"
    PROCEED = "proceed"


class Reason(StrEnum):
    """Why."""

    DAILY_BUDGET_REACHED = "daily_budget_reached"
    WEEKLY_BUDGET_REACHED = "weekly_budget_reached"
    TOTAL_BUDGET_REACHED = "total_budget_reached"
    NEXT_PERIOD = "next_period"
    BUDGET_RAISED = "budget_raised"
    # What was won and not reported when a budget was nearly spent has come in, and there is money left.
    IN_FLIGHT_SETTLED = "in_flight_settled"
    NOT_STARTED = "not_started"
    ENDED = "ended"
    STARTED = "started"
    DAY_PART = "day_part"
    PAUSED_BY_PERSON = "paused_by_person"
    RESUMED_BY_PERSON = "resumed_by_person"
    PACING_BEHIND = "pacing_behind"
    PACING_AHEAD = "pacing_ahead"
    GOAL_BETTER = "goal_better"
    GOAL_WORSE = "goal_worse"
    LEARNING = "learning"
    EXPLORATION = "exploration"
    WIN_RATE = "win_rate"
    SEGMENT_RESPONSE = "segment_response"
    REALLOCATION = "reallocation"
    MANUAL_OVERRIDE = "manual_override"
    UNDO = "undo"
    OUTCOME_OUT_OF_BAND = "outcome_out_of_band"
    OUTCOME_BACK_IN_BAND = "outcome_back_in_band"


class Mode(StrEnum):
    """`auto` acts, `recommend` waits for a person, `dry_run` only records."""

    AUTO = "auto"
    RECOMMEND = "recommend"
    DRY_RUN = "dry_run"


class Effect(msgspec.Struct, omit_defaults=True):
    """Expected effect on one measure, with the 90% interval."""

    measure: str
    expected: float
    low: float
    high: float


class Decision(msgspec.Struct, kw_only=True):
    """One decision. `before` and `after` have the same keys: the fields that change.

    `ts_ms` is the event time of its cause, `effective_ms` when it takes effect; neither is read from a clock.
    """

    decision_id: str
    org_id: str
    campaign_id: str
    kind: str
    reason: str
    ts_ms: int
    effective_ms: int
    before: dict[str, Any]
    after: dict[str, Any]
    # The numbers it was made from: spend_micros, budget_micros, in_flight_micros, multipliers, model version.
    inputs: dict[str, Any]
    policy: str
    mode: str = Mode.AUTO.value
    expected: list[Effect] = []
    # What puts it back: a kind and its `after`; None when nothing needs undoing.
    undo: dict[str, Any] | None = None
    # The event that tipped it, when one did.
    cause_event: str | None = None


def decision_id(org_id: str, campaign_id: str, kind: Kind, reason: Reason, *cause: str | int) -> str:
    """The id of a decision: a hash of what caused it, never of when it was computed.

    `cause` names the cause: the period and the version of the budget for a pause, the step for a bid.
    """
    return stable_id("decision", org_id, campaign_id, kind.value, reason.value, *cause)


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Decision)


def encode_decision(decision: Decision) -> bytes:
    """Canonical bytes: equal decisions encode equally."""
    return _encoder.encode(decision)


def decode_decision(record: bytes) -> Decision:
    """The decision in a record of topic `decisions`; raises msgspec.ValidationError on anything else."""
    return _decoder.decode(record)
