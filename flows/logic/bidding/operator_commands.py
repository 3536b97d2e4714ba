"""People's words on bids and decisions: set and lift a bid, approve, reject, undo."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET

from bidding.guard import Breaker
from bidding.strategies.registry import strategy_of
from flows.logic.bidding.state import BiddingState, Made
from flows.logic.budgets.kinds import DAY, TOTAL
from flows.logic.budgets.ledger import Ledger
from flows.logic.campaigns.registry import Registry
from schemas.campaigns import Bidding
from schemas.control import DecisionWordRecord, OverrideRecord
from schemas.decision_parts import BidChange, BudgetChange, Change, ControllerInputs, Inputs, Undo
from schemas.decisions import CLASSES, INPUTS, Decision, Kind, Mode, Reason, decision_id, named

POLICY: Final = "people/1"
# Automation leaves alone for so long (campaign clock) what a person has put back, unless it is lifted before.
UNDO_HOLD_MS: Final = 86_400_000
_OPPOSITE: Final = {
    Kind.PAUSE: Kind.RESUME,
    Kind.RESUME: Kind.PAUSE,
    Kind.HALT: Kind.PROCEED,
    Kind.PROCEED: Kind.HALT,
}
_BUDGETS: Final = {"daily_budget_micros": DAY, "total_budget_micros": TOTAL}


class OperatorCommands:
    """What follows from people's words, as decisions in mode auto."""

    def __init__(self, ledger: Ledger, registry: Registry) -> None:
        self._ledger = ledger
        self._registry = registry

    # -- bids ---------------------------------------------------------------------------------------------------

    def first_bid(self, slot: int, state: BiddingState, bidding: Bidding, clock_ms: int) -> list[Decision]:
        """Send the first bid of a strategy out, and each new one of a definition that sets the bid itself."""
        controller = state.controller
        assert controller is not None
        manual = not strategy_of(bidding).sets_bid
        if state.overridden:
            return []
        if manual and bidding.bid_micros is not None:
            bid = bidding.bid_micros
        else:
            bid = controller.bid_micros if state.bid_micros is None else state.bid_micros
        if bidding.mode is not Mode.AUTO:
            state.bid_micros = bid
            return []
        if state.published and bid == state.bid_micros:
            return []
        reason = Reason.LEARNING if not manual else Reason.MANUAL_OVERRIDE
        version = self._ledger.standing(slot).version
        before = BidChange(state.bid_micros if state.published else None)
        return [
            self._made(slot, state, Kind.SET_BID, reason, ("definition", version), clock_ms, before,
                       BidChange(bid), ControllerInputs())
        ]  # fmt: skip

    def override(self, slot: int, state: BiddingState, record: OverrideRecord, clock_ms: int) -> list[Decision]:
        """`set_bid` holds until `lift`; a manual bid then goes back to the definition's."""
        state.word_version = max(state.word_version, record.version)
        campaign = self._ledger.standing(slot).campaign
        bid: int | None = None
        if record.action == "set_bid" and record.bid_micros is not None:
            state.overridden, bid = True, record.bid_micros
        elif record.action == "lift":
            state.overridden, state.held = False, {}
            bidding = None if campaign is None else campaign.bidding
            if bidding is not None and not strategy_of(bidding).sets_bid:
                bid = bidding.bid_micros
        if bid is None or bid == state.bid_micros:
            return []
        key = ("override", record.version)
        before, after = state.in_force(Kind.SET_BID), BidChange(bid)
        # A bid that is set replaces the ones before, lifting replaces that one, too.
        inputs = ControllerInputs(replaces_override=record.version - int(state.overridden))
        return [self._made(slot, state, Kind.SET_BID, Reason.MANUAL_OVERRIDE, key, clock_ms, before, after, inputs)]

    # -- words on decisions -------------------------------------------------------------------------------------

    def say(self, slot: int, state: BiddingState, record: DecisionWordRecord, clock_ms: int) -> list[Decision]:
        """What follows from a word; a word on a decision that is not remembered changes nothing."""
        match record.word:
            case "approve":
                return self._approve(slot, state, record, clock_ms)
            case "reject":
                self._reject(state, record, clock_ms)
                return []
            case "undo":
                return self._undo(slot, state, record, clock_ms)
            case _:
                return []

    def _approve(self, slot: int, state: BiddingState, record: DecisionWordRecord, clock_ms: int) -> list[Decision]:
        """The recommended change as a decision that acts, from what is in force now."""
        wanted = state.recommended(record.decision_id)
        if wanted is None:
            return []
        state.approve(record.decision_id)
        kind, reason = Kind(wanted.kind), Reason(wanted.reason)
        before = self._in_force(slot, state, kind, wanted.after)
        inputs = msgspec.structs.replace(wanted.inputs, approved=wanted.decision_id)
        key = ("approve", wanted.decision_id, record.version)
        decision = self._made(
            slot, state, kind, reason, key, clock_ms, before, wanted.after, inputs, approved=wanted.decision_id
        )
        decision.expected = wanted.expected
        return [decision, *self._apply(slot, state, kind, wanted.after)]

    def _reject(self, state: BiddingState, record: DecisionWordRecord, clock_ms: int) -> None:
        """The change is not proposed again for a while, counted from the word."""
        rejected = state.recommended(record.decision_id)
        if rejected is not None:
            state.reject(rejected, clock_ms)

    def _undo(self, slot: int, state: BiddingState, record: DecisionWordRecord, clock_ms: int) -> list[Decision]:
        """The decision that puts back what an earlier one changed, however many came since."""
        made = state.made(record.decision_id)
        if made is None or not made.can_be_undone:
            return []
        kind = _OPPOSITE.get(Kind(made.kind), Kind(made.kind))
        if kind in (Kind.PAUSE, Kind.RESUME):
            return self._undo_state(slot, state, record, made, kind)
        after = made.former
        before = self._in_force(slot, state, kind, after)
        if before == after:
            return []
        self._hold(state, made, clock_ms)
        key = ("undo", made.decision_id, record.version)
        inputs = INPUTS[kind](undone=made.decision_id)
        decision = self._made(slot, state, kind, Reason.UNDO, key, clock_ms, before, after, inputs)
        return [decision, *self._apply(slot, state, kind, after)]

    def _hold(self, state: BiddingState, made: Made, clock_ms: int) -> None:
        """Keep automation off what it did and a person undid; undoing a person's own word lets it go on."""
        if made.kind == Kind.SET_BID and made.reason == Reason.MANUAL_OVERRIDE:
            state.overridden = False
        if made.reason in (Reason.UNDO, Reason.MANUAL_OVERRIDE):
            state.held = {kind: until for kind, until in state.held.items() if kind != made.kind}
        else:
            state.held = state.held | {made.kind: clock_ms + UNDO_HOLD_MS}

    def _undo_state(
        self, slot: int, state: BiddingState, record: DecisionWordRecord, made: Made, kind: Kind
    ) -> list[Decision]:
        """Pause, or take a person's pause away: the ledger has the last word, so nothing spends past a budget."""
        if kind is Kind.RESUME and made.reason not in (Reason.PAUSED_BY_PERSON, Reason.UNDO):
            # A budget or a date paused it: it runs again once there is room, and not before.
            return []
        if self._ledger.runs(slot) == (kind is Kind.RESUME):
            return []
        word = OverrideRecord(
            key=record.key,
            org_id=record.org_id,
            campaign_id=record.campaign_id,
            version=state.word_version,
            changed_by=record.changed_by,
            changed_ms=record.changed_ms,
            action=kind.value,
            note=f"undo of {made.decision_id}",
        )
        decisions = self._ledger.override(slot, word)
        for decision in decisions:
            decision.reason = Reason.UNDO.value
            decision.inputs.undone, decision.inputs.replaces_override = made.decision_id, state.word_version
            decision.decision_id = decision_id(
                record.org_id, record.campaign_id, kind, Reason.UNDO, "undo", made.decision_id, record.version
            )
            state.keep(decision)
        return decisions

    # -- making -------------------------------------------------------------------------------------------------

    def _in_force(self, slot: int, state: BiddingState, kind: Kind, fields: Change) -> Change:
        """What the fields of a change are now."""
        if isinstance(fields, BudgetChange):
            return BudgetChange(**{name: self._ledger.limit(slot, _BUDGETS[name]) for name in named(fields)})
        return state.in_force(kind)

    def _apply(self, slot: int, state: BiddingState, kind: Kind, after: Change) -> list[Decision]:
        """What a change does beside being decided."""
        if isinstance(after, BudgetChange):
            limits = {_BUDGETS[name]: int(limit) for name, limit in named(after).items()}
            decisions = self._ledger.set_limits(slot, limits)
            for decision in decisions:
                state.keep(decision)
            return decisions
        if kind in (Kind.HALT, Kind.PROCEED) and state.controller is not None:
            halted = kind is Kind.HALT
            state.controller = msgspec.structs.replace(
                state.controller, halted=halted, breaker=Breaker(0.0, 0.0, halted)
            )
        return []

    def _made(
        self,
        slot: int,
        state: BiddingState,
        kind: Kind,
        reason: Reason,
        key: tuple[str | int, ...],
        clock_ms: int,
        before: Change,
        after: Change,
        inputs: Inputs,
        approved: str = "",
    ) -> Decision:
        """A decision in mode auto, taken over."""
        org_id, campaign_id = self._registry.campaigns.key(slot)
        if inputs.replaces_override is UNSET:
            inputs.replaces_override = state.word_version
        inputs.version = self._ledger.standing(slot).version
        has_former = all(value is not None for value in named(before).values())
        made: type[Any] = CLASSES[kind]
        decision: Decision = made(
            decision_id=decision_id(org_id, campaign_id, kind, reason, *key),
            org_id=org_id,
            campaign_id=campaign_id,
            reason=reason.value,
            ts_ms=clock_ms,
            effective_ms=clock_ms,
            before=before,
            after=after,
            inputs=inputs,
            policy=POLICY,
            undo=Undo(kind=_OPPOSITE.get(kind, kind).value, after=before) if has_former else None,
        )
        state.keep(decision, approved)
        return decision
