"""What bidders read, kept in memory: definitions, people's overrides and decisions folded into one state a campaign."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec

from api.metrics import BAD_RECORDS
from schemas import topics
from schemas.campaigns import CampaignStatus, Strategy
from schemas.control import CampaignRecord, DecisionWordRecord, OverrideRecord, decode_control
from schemas.decisions import Decision, Kind, Mode, Reason, decode_decision
from schemas.live import CampaignLive
from schemas.log import Chunk
from schemas.serving import Serving

_log = logging.getLogger(__name__)

# Recommendations that wait for a person's word, and words that wait for their decision (control and decisions are read
# side by side, so either may come first); the oldest is forgotten beyond this.
PENDING_MAX: Final = 10_000


class ServingReader(Protocol):
    """Reads the serving state of campaigns."""

    def get(self, org_id: str, campaign_id: str) -> Serving | None:
        """The campaign's state; None when nothing was ever said of it."""
        ...

    def of_organisation(self, org_id: str) -> list[Serving]:
        """The states of all campaigns of an organisation, by campaign_id."""
        ...


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

    def serving(self, spendable_micros: int | None) -> Serving:
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


def _unknown_spendable(_org_id: str, _campaign_id: str) -> int | None:
    return None


class MemoryServing:
    """The fold of topics `control` and `decisions`; fed by `take_control` and `take_decisions`, read at any time."""

    def __init__(self, spendable_micros: Callable[[str, str], int | None] = _unknown_spendable) -> None:
        self._states: dict[tuple[str, str], _State] = {}
        self._pending: dict[str, Decision] = {}
        self._words: dict[str, str] = {}
        self._offsets = {topics.CONTROL: 0, topics.DECISIONS: 0}
        self._spendable = spendable_micros

    def get(self, org_id: str, campaign_id: str) -> Serving | None:
        """The campaign's state; None when nothing was ever said of it."""
        state = self._states.get((org_id, campaign_id))
        return state.serving(self._spendable(org_id, campaign_id)) if state is not None else None

    def of_organisation(self, org_id: str) -> list[Serving]:
        """The states of all campaigns of an organisation, by campaign_id."""
        keys = sorted(key for key in self._states if key[0] == org_id)
        return [self._states[key].serving(self._spendable(*key)) for key in keys]

    def take_control(self, chunk: Chunk) -> None:
        """Fold in records of topic `control`."""
        self._offsets[topics.CONTROL] = chunk.next_offset
        for raw in chunk.records():
            try:
                record = decode_control(raw)
                self._changed(self._control(record))
            except (msgspec.DecodeError, ValueError) as error:
                _bad(topics.CONTROL, error)

    def take_decisions(self, chunk: Chunk) -> None:
        """Fold in records of topic `decisions`."""
        self._offsets[topics.DECISIONS] = chunk.next_offset
        for raw in chunk.records():
            try:
                decision = decode_decision(raw)
                if decision.mode == Mode.AUTO:
                    self._changed(self._decided(decision))
                elif decision.mode == Mode.RECOMMEND:
                    self._recommended(decision)
            except (msgspec.DecodeError, ValueError, KeyError, TypeError) as error:
                _bad(topics.DECISIONS, error)

    def _changed(self, state: _State) -> None:
        # Rises with every change and is the same in every process that has read as far.
        state.seq = sum(self._offsets.values())

    def _state(self, org_id: str, campaign_id: str) -> _State:
        return self._states.setdefault((org_id, campaign_id), _State(org_id, campaign_id))

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

    def _recommended(self, decision: Decision) -> None:
        """A recommendation takes effect once a person has approved it."""
        word = self._words.pop(decision.decision_id, None)
        if word == "approve":
            self._changed(self._decided(decision))
        elif word is None:
            self._pending[decision.decision_id] = decision
            _keep_newest(self._pending)

    def _said(self, record: DecisionWordRecord) -> None:
        decision = self._pending.pop(record.decision_id, None)
        if decision is None:
            self._words[record.decision_id] = record.word
            _keep_newest(self._words)
        elif record.word == "approve":
            self._decided(decision)

    def _decided(self, decision: Decision) -> _State:
        state = self._state(decision.org_id, decision.campaign_id)
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


def _bad(topic: str, error: Exception) -> None:
    BAD_RECORDS.labels(topic).inc()
    _log.warning("a record of topic %s was left out: %s", topic, error)


def spendable_of(row: CampaignLive) -> int | None:
    """What may still be spent before the next pause, less what is in flight; None without a budget."""
    left = [budget.budget_micros - budget.spent_micros - budget.in_flight_micros for budget in row.budgets]
    return max(0, min(left)) if left else None
