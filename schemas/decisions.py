"""Decisions: what changes from what to what, why, from which numbers, by which policy, and how to undo it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from schemas.identity import stable_id

# Decisions of one campaign in one millisecond of the written clock before sequences run ahead of it. With the clock
# above these bits a sequence is exact in JavaScript's numbers until 2039.
SEQUENCE_BITS: Final = 12


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
    # Its place in the order in which the campaign's decisions were taken: see `next_sequence`. 0 in records from before
    # there was one.
    sequence: int = 0

    @property
    def place(self) -> tuple[int, str]:
        """What decisions are sorted by, the oldest first: by sequence, those without one by the time of their cause."""
        return self.sequence or self.ts_ms << SEQUENCE_BITS, self.decision_id


def decision_id(org_id: str, campaign_id: str, kind: Kind, reason: Reason, *cause: str | int) -> str:
    """The id of a decision: a hash of what caused it, never of when it was computed.

    `cause` names the cause: the period and the version of the budget for a pause, the step for a bid.
    """
    return stable_id("decision", org_id, campaign_id, kind.value, reason.value, *cause)


def next_sequence(last: int, now_ms: int) -> int:
    """The sequence of a campaign's next decision: above its last one, and not below the written clock.

    A hybrid logical clock (Kulkarni et al. 2014, "Logical physical clocks"): it follows the order in which decisions
    were taken, whatever the event times of their causes, and rises on when the state behind `last` was thrown away.

    >>> next_sequence(0, 1_000), next_sequence(4_096_000, 1_000), next_sequence(4_096_001, 1_001)
    (4096000, 4096001, 4100096)
    """
    return max(last + 1, now_ms << SEQUENCE_BITS)


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Decision)


def encode_decision(decision: Decision) -> bytes:
    """Canonical bytes: equal decisions encode equally."""
    return _encoder.encode(decision)


def decode_decision(record: bytes) -> Decision:
    """The decision in a record of topic `decisions`; raises one of `UNREADABLE` on anything else."""
    return _decoder.decode(record)
