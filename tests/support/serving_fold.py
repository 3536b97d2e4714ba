"""What bidders were served before there was topic `serving`, folded from topics `control` and `decisions`: a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import UNSET, UnsetType

from schemas import topics
from schemas.campaigns import CampaignStatus
from schemas.control import CampaignRecord, DecisionWordRecord, OverrideRecord, decode_control
from schemas.decisions import (
    Decision,
    Mode,
    Pause,
    Reason,
    Resume,
    SetBid,
    SetBidModifiers,
    SetPacing,
    decode_decision,
)
from schemas.log import Chunk
from schemas.serving import Serving
from schemas.unreadable import UNREADABLE

# Decisions remembered by id; the oldest is forgotten beyond this.
REMEMBERED_MAX: Final = 10_000

# Told of a record that is not what its topic holds; it is left out.
OnBad = Callable[[str, Exception], None]


@dataclass(slots=True)
class _State:
    """What is known of one campaign. A person's pause and bid stand beside the decided ones until they are lifted.

    Control and decisions are read side by side, so either may come first: versions tell which word is the newer one.
    """

    org_id: str
    campaign_id: str
    version: int = 0
    currency: str = "USD"
    status: CampaignStatus = CampaignStatus.ACTIVE
    is_manual: bool = True
    defined_bid_micros: int | None = None
    # Version of a person's pause and bid that are not lifted, 0 for none; a decision that a person asked for later says
    # up to which version it replaces them.
    person_paused: int = 0
    person_bid_version: int = 0
    person_bid_micros: int | None = None
    pause_replaced: int = 0
    bid_replaced: int = 0
    # Reason of the decided pause that is in force.
    pause_reason: str | None = None
    decided_bid_micros: int | None = None
    # Version of the definition that a person decided the bid under; 0 for a strategy's bid.
    bid_word_under: int = 0
    pacing_rate: float = 1.0
    modifiers: dict[str, float] = field(default_factory=dict)
    start_ms: int | None = None
    end_ms: int | None = None
    # The version of the newest override, and the sequence of the newest decision that took effect: older ones that
    # come again change nothing.
    override_version: int = 0
    sequence: int = 0
    seq: int = 0
    decided_ms: int = 0
    decision_id: str | None = None

    def serving(self, spendable_micros: int | None = None) -> Serving:
        """The state as bidders read it."""
        stopped_by_person = self.person_paused > self.pause_replaced or self.status is not CampaignStatus.ACTIVE
        reason = Reason.PAUSED_BY_PERSON.value if stopped_by_person else self.pause_reason
        own, decided = self.defined_bid_micros, self.decided_bid_micros
        person = self.person_bid_micros if self.person_bid_version > self.bid_replaced else None
        # A manual bid is the person's: what a strategy decided before goes behind it, a newer word of theirs before it.
        own_first = self.is_manual and self.bid_word_under != self.version
        bids = (person, *((own, decided) if own_first else (decided, own)))
        return Serving(
            org_id=self.org_id,
            campaign_id=self.campaign_id,
            seq=self.seq,
            paused=reason is not None,
            pause_reason=reason,
            bid_micros=next((bid for bid in bids if bid is not None), None),
            pacing_rate=self.pacing_rate,
            modifiers=self.modifiers,
            currency=self.currency,
            spendable_micros=spendable_micros,
            start_ms=self.start_ms,
            end_ms=self.end_ms,
            decided_ms=self.decided_ms,
            decision_id=self.decision_id,
            version=self.version,
            override_version=self.override_version,
        )


class ServingFold:
    """The states of all campaigns; `take` returns those that a chunk of either topic has changed.

    `seq` of a state is how far both topics were read when it was given out. A reader that starts again begins both
    topics anew, so it gives nothing out before it has caught up: then its `snapshot` is ahead of all that was before.
    """

    def __init__(self, on_bad: OnBad) -> None:
        self._states: dict[tuple[str, str], _State] = {}
        # Ids of decisions that took effect: the dataflow writes some again after a crash.
        self._in_effect: dict[str, None] = {}
        # How far each topic is folded in.
        self.offsets = {topics.CONTROL: 0, topics.DECISIONS: 0}
        self._on_bad = on_bad

    def take(self, chunk: Chunk) -> list[Serving]:
        """Fold in records of topic `control` or `decisions`; those that were folded in before are left out."""
        if chunk.next_offset <= self.offsets[chunk.topic]:
            return []
        self.offsets[chunk.topic] = chunk.next_offset
        fold = self._take_control if chunk.topic == topics.CONTROL else self._take_decision
        changed: dict[tuple[str, str], _State] = {}
        for raw in chunk.records():
            try:
                state = fold(raw)
            except (*UNREADABLE, KeyError, TypeError) as error:
                self._on_bad(chunk.topic, error)
                continue
            if state is not None:
                changed[state.org_id, state.campaign_id] = state
        return self._given_out(changed.values())

    def snapshot(self) -> list[Serving]:
        """Every campaign's state."""
        return self._given_out(self._states.values())

    def _given_out(self, states: Iterable[_State]) -> list[Serving]:
        seq = sum(self.offsets.values())
        for state in states:
            state.seq = seq
        return [state.serving() for state in states]

    def _state(self, org_id: str, campaign_id: str) -> _State:
        return self._states.setdefault((org_id, campaign_id), _State(org_id, campaign_id))

    def _take_control(self, raw: bytes) -> _State:
        return self._control(decode_control(raw))

    def _take_decision(self, raw: bytes) -> _State | None:
        decision = decode_decision(raw)
        # A recommendation that a person approves comes again as a decision in mode auto.
        if decision.decision_id in self._in_effect or decision.mode != Mode.AUTO:
            return None
        known = self._states.get((decision.org_id, decision.campaign_id))
        if known is not None and 0 < decision.sequence <= known.sequence:
            return None
        return self._decided(decision)

    def _control(self, record: CampaignRecord | OverrideRecord | DecisionWordRecord) -> _State:
        state = self._state(record.org_id, record.campaign_id)
        match record:
            case CampaignRecord():
                _define(state, record)
            case OverrideRecord():
                _override(state, record)
            case DecisionWordRecord():
                # The dataflow answers with a decision of its own.
                pass
        return state

    def _decided(self, decision: Decision) -> _State:
        state = self._state(decision.org_id, decision.campaign_id)
        self._in_effect[decision.decision_id] = None
        _keep_newest(self._in_effect)
        state.sequence = max(state.sequence, decision.sequence)
        match decision:
            case Pause():
                undone = decision.reason == Reason.UNDO
                state.pause_reason = Reason.PAUSED_BY_PERSON.value if undone else decision.reason
            case Resume():
                state.pause_reason = None
                state.pause_replaced = _or(decision.inputs.replaces_override, state.pause_replaced)
            case SetBid():
                state.decided_bid_micros = decision.after.bid_micros
                by_person = decision.inputs.replaces_override is not UNSET
                state.bid_replaced = _or(decision.inputs.replaces_override, state.bid_replaced)
                state.bid_word_under = _or(decision.inputs.version, 0) if by_person else 0
            case SetPacing():
                state.pacing_rate = float(decision.after.pacing_rate)
            case SetBidModifiers():
                state.modifiers = {key: float(factor) for key, factor in decision.after.modifiers.items()}
            case _:
                return state
        state.decided_ms, state.decision_id = decision.effective_ms, decision.decision_id
        return state


def _or(said: int | UnsetType, otherwise: int) -> int:
    return otherwise if isinstance(said, UnsetType) else said


def _define(state: _State, record: CampaignRecord) -> None:
    if record.version <= state.version:
        return
    definition = record.definition()
    state.version, state.currency, state.status = record.version, definition.currency, definition.status
    bidding = definition.bidding
    state.start_ms, state.end_ms = definition.start_ms, definition.end_ms
    state.is_manual = bidding is None or bidding.strategy == "manual"
    state.defined_bid_micros = bidding.bid_micros if bidding is not None else None


def _override(state: _State, record: OverrideRecord) -> None:
    if record.version < state.override_version:
        return
    state.override_version = record.version
    match record.action:
        case "pause":
            state.person_paused = record.version
        case "resume":
            state.person_paused = 0
        case "set_bid":
            state.person_bid_version, state.person_bid_micros = record.version, record.bid_micros
        case "lift":
            state.person_paused, state.person_bid_version = 0, 0


def _keep_newest(waiting: dict[str, Any]) -> None:
    if len(waiting) > REMEMBERED_MAX:
        del waiting[next(iter(waiting))]
