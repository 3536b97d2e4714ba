"""What bidders read, folded from topics `control` and `decisions`: definitions, people's overrides, decisions. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from schemas import topics
from schemas.campaigns import CampaignStatus, Strategy
from schemas.control import CampaignRecord, DecisionWordRecord, OverrideRecord, decode_control
from schemas.decisions import Decision, Kind, Mode, Reason, decode_decision
from schemas.live import CampaignLive
from schemas.log import Chunk
from schemas.serving import Serving

# Recommendations that wait for a person's word, and words that wait for their decision (control and decisions are read
# side by side, so either may come first), and decisions remembered by id; the oldest is forgotten beyond this.
PENDING_MAX: Final = 10_000

# Told of a record that is not what its topic holds; it is left out.
OnBad = Callable[[str, Exception], None]


@dataclass(slots=True)
class _State:
    """What is known of one campaign. A person's pause and bid stand beside the decided ones until they are lifted."""

    org_id: str
    campaign_id: str
    version: int = 0
    currency: str = "USD"
    status: CampaignStatus = CampaignStatus.ACTIVE
    is_manual: bool = True
    defined_bid_micros: int | None = None
    person_paused: bool = False
    person_bid_micros: int | None = None
    # Reason of the decided pause that is in force.
    pause_reason: str | None = None
    decided_bid_micros: int | None = None
    pacing_rate: float = 1.0
    modifiers: dict[str, float] = field(default_factory=dict)
    seq: int = 0
    decided_ms: int = 0
    decision_id: str | None = None

    def serving(self, spendable_micros: int | None = None) -> Serving:
        """The state as bidders read it."""
        stopped_by_person = self.person_paused or self.status is not CampaignStatus.ACTIVE
        reason = Reason.PAUSED_BY_PERSON.value if stopped_by_person else self.pause_reason
        # A manual bid is the person's: what a strategy decided before goes behind it.
        own, decided = self.defined_bid_micros, self.decided_bid_micros
        bids = (self.person_bid_micros, *((own, decided) if self.is_manual else (decided, own)))
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
            decided_ms=self.decided_ms,
            decision_id=self.decision_id,
        )


def spendable_of(row: CampaignLive) -> int | None:
    """What is left of the tightest budget, less what is in flight; None without a budget."""
    left = [budget.budget_micros - budget.spent_micros - budget.in_flight_micros for budget in row.budgets]
    return max(0, min(left)) if left else None


class ServingFold:
    """The states of all campaigns; `take` returns those that a chunk of either topic has changed.

    `seq` of a state is how far both topics were read when it was given out. A reader that starts again begins both
    topics anew, so it gives nothing out before it has caught up: then its `snapshot` is ahead of all that was before.
    """

    def __init__(self, on_bad: OnBad) -> None:
        self._states: dict[tuple[str, str], _State] = {}
        self._pending: dict[str, Decision] = {}
        self._words: dict[str, str] = {}
        # Ids of decisions that took effect: the dataflow writes some again after a crash.
        self._in_effect: dict[str, None] = {}
        self._offsets = {topics.CONTROL: 0, topics.DECISIONS: 0}
        self._on_bad = on_bad

    def take(self, chunk: Chunk) -> list[Serving]:
        """Fold in records of topic `control` or `decisions`."""
        self._offsets[chunk.topic] = chunk.next_offset
        fold = self._take_control if chunk.topic == topics.CONTROL else self._take_decision
        changed: dict[tuple[str, str], _State] = {}
        for raw in chunk.records():
            try:
                state = fold(raw)
            except (msgspec.DecodeError, ValueError, KeyError, TypeError) as error:
                self._on_bad(chunk.topic, error)
                continue
            if state is not None:
                changed[state.org_id, state.campaign_id] = state
        return self._given_out(changed.values())

    def snapshot(self) -> list[Serving]:
        """Every campaign's state."""
        return self._given_out(self._states.values())

    def _given_out(self, states: Iterable[_State]) -> list[Serving]:
        seq = sum(self._offsets.values())
        for state in states:
            state.seq = seq
        return [state.serving() for state in states]

    def _state(self, org_id: str, campaign_id: str) -> _State:
        return self._states.setdefault((org_id, campaign_id), _State(org_id, campaign_id))

    def _take_control(self, raw: bytes) -> _State:
        return self._control(decode_control(raw))

    def _take_decision(self, raw: bytes) -> _State | None:
        decision = decode_decision(raw)
        if decision.decision_id in self._in_effect:
            return None
        if decision.mode == Mode.AUTO:
            return self._decided(decision)
        if decision.mode == Mode.RECOMMEND:
            return self._recommended(decision)
        return None

    def _control(self, record: CampaignRecord | OverrideRecord | DecisionWordRecord) -> _State:
        state = self._state(record.org_id, record.campaign_id)
        match record:
            case CampaignRecord():
                _define(state, record)
            case OverrideRecord():
                _override(state, record)
            case DecisionWordRecord():
                self._said(record)
        return state

    def _recommended(self, decision: Decision) -> _State | None:
        """A recommendation takes effect once a person has approved it."""
        word = self._words.pop(decision.decision_id, None)
        if word == "approve":
            return self._decided(decision)
        if word is None:
            self._pending[decision.decision_id] = decision
            _keep_newest(self._pending)
        return None

    def _said(self, record: DecisionWordRecord) -> None:
        decision = self._pending.pop(record.decision_id, None)
        if decision is None:
            self._words[record.decision_id] = record.word
            _keep_newest(self._words)
        elif record.word == "approve":
            self._decided(decision)

    def _decided(self, decision: Decision) -> _State:
        state = self._state(decision.org_id, decision.campaign_id)
        self._in_effect[decision.decision_id] = None
        _keep_newest(self._in_effect)
        match decision.kind:
            case Kind.PAUSE:
                state.pause_reason = decision.reason
            case Kind.RESUME:
                state.pause_reason = None
            case Kind.SET_BID:
                state.decided_bid_micros = decision.after["bid_micros"]
            case Kind.SET_PACING:
                state.pacing_rate = float(decision.after["pacing_rate"])
            case Kind.SET_BID_MODIFIERS:
                state.modifiers = {str(key): float(factor) for key, factor in decision.after["modifiers"].items()}
            case _:
                return state
        state.decided_ms, state.decision_id = decision.effective_ms, decision.decision_id
        return state


def _define(state: _State, record: CampaignRecord) -> None:
    if record.version <= state.version:
        return
    definition = record.definition()
    state.version, state.currency, state.status = record.version, definition.currency, definition.status
    bidding = definition.bidding
    state.is_manual = bidding is None or bidding.strategy is Strategy.MANUAL
    state.defined_bid_micros = bidding.bid_micros if bidding is not None else None


def _override(state: _State, record: OverrideRecord) -> None:
    match record.action:
        case "pause":
            state.person_paused = True
        case "resume":
            state.person_paused = False
        case "set_bid":
            state.person_bid_micros = record.bid_micros
        case "lift":
            state.person_paused, state.person_bid_micros = False, None


def _keep_newest(waiting: dict[str, Any]) -> None:
    if len(waiting) > PENDING_MAX:
        del waiting[next(iter(waiting))]
