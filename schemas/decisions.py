"""Decisions: what changes from what to what, why, from which numbers, by which policy, and how to undo it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias

import msgspec

from schemas.decision_parts import (
    AutomationChange,
    BidChange,
    BreakerInputs,
    BudgetChange,
    Change,
    ControllerInputs,
    Effect,
    Inputs,
    LedgerInputs,
    ModifiersChange,
    PacingChange,
    PortfolioInputs,
    SegmentInputs,
    StateChange,
    Undo,
)
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
    # Spend that reached a budget was taken back.
    SPEND_CORRECTED = "spend_corrected"
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


class Decision(msgspec.Struct, kw_only=True):
    """One decision; what is of its kind is said by the classes below. `before` and `after` have the same fields.

    `ts_ms` is the event time of its cause, `effective_ms` when it takes effect; neither is read from a clock.
    """

    decision_id: str
    org_id: str
    campaign_id: str
    kind: str
    reason: str
    ts_ms: int
    effective_ms: int
    before: Any
    after: Any
    # The numbers it was made from.
    inputs: Any
    policy: str
    mode: str = Mode.AUTO.value
    expected: list[Effect] = []
    # None when nothing needs undoing.
    undo: Any = None
    # The event that tipped it, when one did.
    cause_event: str | None = None
    # Its place in the order in which the campaign's decisions were taken: see `next_sequence`. 0 in records from before
    # there was one.
    sequence: int = 0

    @property
    def place(self) -> tuple[int, str]:
        """What decisions are sorted by, the oldest first: by sequence, those without one by the time of their cause."""
        return self.sequence or self.ts_ms << SEQUENCE_BITS, self.decision_id


class Pause(Decision, kw_only=True):
    """The campaign stops."""

    kind: Literal["pause"] = "pause"
    before: StateChange
    after: StateChange
    inputs: LedgerInputs
    undo: Undo[StateChange] | None = None


class Resume(Decision, kw_only=True):
    """The campaign runs again."""

    kind: Literal["resume"] = "resume"
    before: StateChange
    after: StateChange
    inputs: LedgerInputs
    undo: Undo[StateChange] | None = None


class SetBid(Decision, kw_only=True):
    """Another bid."""

    kind: Literal["set_bid"] = "set_bid"
    before: BidChange
    after: BidChange
    inputs: ControllerInputs
    undo: Undo[BidChange] | None = None


class SetBudget(Decision, kw_only=True):
    """Other budgets."""

    kind: Literal["set_budget"] = "set_budget"
    before: BudgetChange
    after: BudgetChange
    inputs: PortfolioInputs
    undo: Undo[BudgetChange] | None = None


class SetPacing(Decision, kw_only=True):
    """Another pacing rate."""

    kind: Literal["set_pacing"] = "set_pacing"
    before: PacingChange
    after: PacingChange
    inputs: ControllerInputs
    undo: Undo[PacingChange] | None = None


class SetBidModifiers(Decision, kw_only=True):
    """Other bid modifiers."""

    kind: Literal["set_bid_modifiers"] = "set_bid_modifiers"
    before: ModifiersChange
    after: ModifiersChange
    inputs: SegmentInputs
    undo: Undo[ModifiersChange] | None = None


class Halt(Decision, kw_only=True):
    """Automation stops."""

    kind: Literal["halt"] = "halt"
    before: AutomationChange
    after: AutomationChange
    inputs: BreakerInputs
    undo: Undo[AutomationChange] | None = None


class Proceed(Decision, kw_only=True):
    """Automation goes on."""

    kind: Literal["proceed"] = "proceed"
    before: AutomationChange
    after: AutomationChange
    inputs: BreakerInputs
    undo: Undo[AutomationChange] | None = None


class OtherDecision(Decision, kw_only=True):
    """A decision of a kind that this version does not know: kept and shown as it is, acted on by nobody here."""

    before: dict[str, Any]
    after: dict[str, Any]
    inputs: dict[str, Any]
    undo: dict[str, Any] | None = None


KnownDecision: TypeAlias = Pause | Resume | SetBid | SetBudget | SetPacing | SetBidModifiers | Halt | Proceed
CLASSES: Final[dict[Kind, type[Decision]]] = {
    Kind.PAUSE: Pause,
    Kind.RESUME: Resume,
    Kind.SET_BID: SetBid,
    Kind.SET_BUDGET: SetBudget,
    Kind.SET_PACING: SetPacing,
    Kind.SET_BID_MODIFIERS: SetBidModifiers,
    Kind.HALT: Halt,
    Kind.PROCEED: Proceed,
}
INPUTS: Final[dict[Kind, type[Inputs]]] = {
    Kind.PAUSE: LedgerInputs,
    Kind.RESUME: LedgerInputs,
    Kind.SET_BID: ControllerInputs,
    Kind.SET_PACING: ControllerInputs,
    Kind.SET_BUDGET: PortfolioInputs,
    Kind.SET_BID_MODIFIERS: SegmentInputs,
    Kind.HALT: BreakerInputs,
    Kind.PROCEED: BreakerInputs,
}
_CHANGES: Final[dict[Kind, type[Change]]] = {
    Kind.PAUSE: StateChange,
    Kind.RESUME: StateChange,
    Kind.SET_BID: BidChange,
    Kind.SET_BUDGET: BudgetChange,
    Kind.SET_PACING: PacingChange,
    Kind.SET_BID_MODIFIERS: ModifiersChange,
    Kind.HALT: AutomationChange,
    Kind.PROCEED: AutomationChange,
}


def named(part: Change | Inputs | Undo[Any] | dict[str, Any]) -> dict[str, Any]:
    """A change or inputs as names and values, what is not said left out.

    >>> named(BudgetChange(daily_budget_micros=5))
    {'daily_budget_micros': 5}
    """
    fields: dict[str, Any] = msgspec.to_builtins(part)
    return fields


def change_of(kind: Kind, fields: Mapping[str, Any]) -> Change:
    """The change of a kind from names and values."""
    return msgspec.convert(fields, _CHANGES[kind])


def decision_of(**fields: Any) -> Decision:
    """The decision of names and values, as in a record; raises ValueError where they are none."""
    plain = msgspec.to_builtins(fields)
    return msgspec.convert(plain, _class_of(plain.get("kind", "")))


def _class_of(kind: str) -> type[Decision]:
    return CLASSES[Kind(kind)] if kind in _KINDS else OtherDecision


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
_KINDS: Final = frozenset(kind.value for kind in Kind)


class _OfKind(msgspec.Struct):
    kind: str


_kind_decoder = msgspec.json.Decoder(_OfKind)
_decoders = {kind.value: msgspec.json.Decoder(each) for kind, each in CLASSES.items()}
_other_decoder = msgspec.json.Decoder(OtherDecision)


def encode_decision(decision: Decision) -> bytes:
    """Canonical bytes: equal decisions encode equally."""
    return _encoder.encode(decision)


def decode_decision(record: bytes) -> Decision:
    """The decision in a record of topic `decisions`; raises one of `UNREADABLE` on anything else."""
    decoder = _decoders.get(_kind_decoder.decode(record).kind, _other_decoder)
    decision: Decision = decoder.decode(record)
    return decision
