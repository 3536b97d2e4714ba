"""Bidding in the dataflow: steps the controllers of campaigns at ticks, and turns proposals into decisions.

A campaign is stepped by its own clock and sees nothing but its own counters and budgets, so its decisions depend
neither on other campaigns nor on how the stream was cut.
"""

from __future__ import annotations

import math
import zlib
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from bidding.controller import step
from bidding.in_flight import reserved_micros
from bidding.learn import Rules, first_state
from bidding.observation import Observation
from bidding.proposal import Proposal, as_decision
from flows.logic.bidding.operator_commands import OperatorCommands
from flows.logic.bidding.periodic import (
    BEAT_MS,
    Segments,
    follow_day,
    modifier_proposals,
    portfolio_proposals,
    segments_of_day,
)
from flows.logic.bidding.state import BiddingState, Counted
from flows.logic.budgets.kinds import BUDGETS, budget_states
from flows.logic.budgets.ledger import Cause, Ledger
from flows.logic.campaigns.registry import Registry
from flows.logic.kept import KeptRows
from flows.logic.windows import layout as at
from flows.logic.windows.arrays import Arrays
from schemas.campaigns import Campaign
from schemas.control import DecisionWordRecord, OverrideRecord
from schemas.decisions import Decision, Kind, Mode, SetBid

STEP_MS: Final = 10_000
# A campaign with few impressions since the last step, or none, learns nothing from being looked at so often.
QUIET_STEP_MS, IDLE_STEP_MS = 30_000, 60_000
_BUSY_IMPRESSIONS: Final = 20
# Reports faster than this are as good as at once: then a pause is exact and nothing is held back.
DELAY_MS_MIN: Final = 2_000
# Costs to have seen before a delay is believed.
_DELAY_EVENTS_MIN: Final = 20
# The clock of a campaign that has had no event may jump back to the time of its first one.
_JUMP_MS: Final = 60_000
# So many reporting delays after a pause all that was under way has come in; to what came a margin is added.
_SETTLED_AFTER: Final = 1.5
_SETTLED_MARGIN: Final = 1.25
# Fewer clicks say nothing about the click rate: the error of a rate from ten is a third of it.
CLICKS_MIN: Final = 10
PORTFOLIO_MS: Final = 3_600_000
_WEEK_MS: Final = 7 * 86_400_000
_NOTHING: Final = BiddingState()
_STANDING: Final = (Kind.HALT, Kind.PROCEED)


class BiddingStage:
    """Bidding for the campaigns of one shard."""

    def __init__(self, arrays: Arrays, registry: Registry, ledger: Ledger) -> None:
        self._arrays = arrays
        self._registry = registry
        self._ledger = ledger
        self._states: dict[int, BiddingState] = {}
        self._rules: dict[int, Rules] = {}
        self._words = OperatorCommands(ledger, registry)

    def _steering(self, slot: int) -> BiddingState:
        return self._states.setdefault(slot, BiddingState())

    def clock_ms(self, slot: int) -> int:
        """The campaign's clock."""
        row = self._arrays.campaign(slot)
        return int(row["watermark_ms"] + row["behind_ms"])

    # -- what people say ----------------------------------------------------------------------------------------

    def note(self, slot: int, decisions: list[Decision]) -> list[Decision]:
        """Remember the ledger's decisions, so that they can be undone; returns them."""
        for decision in decisions:
            self._steering(slot).keep(decision)
        return decisions

    def define(self, slot: int) -> list[Decision]:
        """Follow the definition that came into force."""
        campaign = self._ledger.standing(slot).campaign
        row = self._arrays.campaign(slot)
        if campaign is None or campaign.bidding is None:
            row["step_at_ms"], row["reserve"] = at.FAR_MS, 0
            self._rules.pop(slot, None)
            # Nothing is held back any more, so there may be room again.
            return self.note(slot, self._ledger.review(slot, Cause(self.clock_ms(slot), person=True), None))
        bidding, state = campaign.bidding, self._steering(slot)
        self._rules[slot] = rules_of(campaign)
        if row["step_at_ms"] == at.FAR_MS:
            row["step_at_ms"] = 0
        if state.controller is None:
            state.controller = first_state(bidding)
            state.counted = self.counters(slot)
        return self._with_click_rate(slot, self._words.first_bid(slot, state, bidding, self.clock_ms(slot)))

    def hears(self, slot: int, record: OverrideRecord | DecisionWordRecord) -> bool:
        """Whether a person's word is a new one; asked once, as it remembers words on decisions."""
        if isinstance(record, OverrideRecord):
            return record.version > self._steering(slot).word_version
        # Of a campaign of which nothing is known there is no decision to speak of.
        return slot in self._states and self._states[slot].hears(record.decision_id, record.version)

    def override(self, slot: int, record: OverrideRecord) -> list[Decision]:
        """Take a person's bid over, or lift it."""
        decisions = self._words.override(slot, self._steering(slot), record, self.clock_ms(slot))
        return self._with_click_rate(slot, decisions)

    def word(self, slot: int, record: DecisionWordRecord) -> list[Decision]:
        """Do what a person said of a decision."""
        if slot not in self._states:
            return []
        return self._with_click_rate(slot, self._words.say(slot, self._steering(slot), record, self.clock_ms(slot)))

    def _with_click_rate(self, slot: int, decisions: list[Decision]) -> list[Decision]:
        """Bids name the campaign's click rate, by which they are divided where a platform bids per click."""
        counted = self.counters(slot)
        if counted.clicks >= CLICKS_MIN:
            for decision in decisions:
                if isinstance(decision, SetBid):
                    decision.inputs.ctr = round(min(counted.clicks / max(counted.impressions, 1), 1.0), 6)
        return decisions

    def began(self, slot: int) -> None:
        """The campaign's first event set its clock."""
        row = self._arrays.campaign(slot)
        if row["step_at_ms"] != at.FAR_MS:
            row["step_at_ms"] = 0

    def corrected(self, slot: int, before: Counted) -> None:
        """The campaign's counters, which were `before`, were corrected."""
        if slot in self._rules:
            self._steering(slot).correct(before, self.counters(slot), self._rules[slot].counts_conversions)

    # -- steps --------------------------------------------------------------------------------------------------

    def tick(self, home: NDArray[np.bool_]) -> list[Decision]:
        """Step the campaigns among `home` whose time has come; all windows must be flushed."""
        camp = self._arrays.campaigns_used()
        clock_ms = camp["watermark_ms"] + camp["behind_ms"]
        due = np.flatnonzero(home & (clock_ms >= camp["step_at_ms"]))
        decisions: list[Decision] = []
        for slot in sorted(due.tolist(), key=self._registry.campaigns.key):
            decisions += self._step(slot, int(clock_ms[slot]))
        return decisions + self._beat({slot: int(clock_ms[slot]) for slot in due.tolist()})

    def counters(self, slot: int) -> Counted:
        """What was counted of a campaign since it is known; all windows must be flushed."""
        counters = at.columns(self._arrays.state.counters)[self._arrays.campaign(slot)["total_window"]]
        return Counted(
            impressions=int(counters["impressions"]),
            clicks=int(counters["clicks"]),
            conversions=int(counters["conversions"]),
            leads=int(counters["leads"]),
            spend_micros=int(counters["spend"]),
            revenue_micros=int(counters["revenue"]),
        )

    def _step(self, slot: int, clock_ms: int) -> list[Decision]:
        row, state = self._arrays.campaign(slot), self._steering(slot)
        rules, controller = self._rules.get(slot), state.controller
        if rules is None or controller is None:
            row["step_at_ms"] = at.FAR_MS
            return []
        if controller.seen_ms is not None and clock_ms < controller.seen_ms - _JUMP_MS and controller.impressions == 0:
            controller = first_state(rules.bidding)
        counters = self.counters(slot)
        seen = self._observation(slot, clock_ms, counters)
        self._remember_week(state, seen, rules)
        controller = msgspec.structs.replace(controller, pacing_rate=state.pacing_rate)
        state.controller, proposals = step(controller, seen, rules)
        row["step_at_ms"] = self._next_step(slot, clock_ms, counters != state.counted, seen.impressions)
        state.counted, state.was_paused = counters, seen.paused
        decisions = [d for p in proposals for d in self._propose(slot, p, rules.bidding.mode, clock_ms)]
        decisions += self._reserve(slot, clock_ms)
        if decisions:
            row["stale"] = 1
        return decisions

    def _beat(self, due: dict[int, int]) -> list[Decision]:
        """Modifiers and portfolios of those stepped campaigns whose slower time has come too."""
        beats = [slot for slot, clock_ms in due.items() if slot in self._rules and self._beats(slot, clock_ms)]
        beats.sort(key=self._registry.campaigns.key)
        decisions: list[Decision] = []
        for counts_conversions in (False, True):
            slots = [slot for slot in beats if self._rules[slot].counts_conversions is counts_conversions]
            segments = segments_of_day(self._arrays, self._registry, slots, counts_conversions) if slots else {}
            for slot, today in segments.items():
                decisions += self._modifiers(slot, due[slot], today)
        for slot in beats:
            decisions += self._portfolio(slot, due[slot])
        return decisions

    def _beats(self, slot: int, clock_ms: int) -> bool:
        state = self._steering(slot)
        place_ms = zlib.crc32(self._registry.campaigns.key(slot).campaign_id.encode()) % BEAT_MS
        beat = (clock_ms - place_ms) // BEAT_MS
        known, state.beat = state.beat, beat
        return known not in (None, beat)

    def _modifiers(self, slot: int, clock_ms: int, today: Segments) -> list[Decision]:
        state, row, rules = self._steering(slot), self._arrays.campaign(slot), self._rules[slot]
        follow_day(state, int(row["day_start_ms"]), today)
        controller = state.controller
        if controller is None or controller.halted or not rules.strategy.sets_bid:
            return []
        proposals = modifier_proposals(state, clock_ms, controller.step)
        return [d for p in proposals for d in self._propose(slot, p, rules.bidding.mode, clock_ms)]

    def _portfolio(self, slot: int, clock_ms: int) -> list[Decision]:
        """Budgets to move within the portfolio that the campaign is the first of, once an hour.

        Members are those of the same organisation, currency and outcome whose events come in the same partition and to
        the same shard: what others do by now is not the same in every replay.
        """
        portfolio, state = self._group(slot), self._steering(slot)
        if portfolio is None or 0 <= clock_ms - state.portfolio_at_ms < PORTFOLIO_MS:
            return []
        state.portfolio_at_ms = clock_ms
        slots = {
            self._registry.campaigns.key(each).campaign_id: each
            for each in self._rules
            if self._group(each) == portfolio
        }
        if min(slots) != self._registry.campaigns.key(slot).campaign_id:
            return []
        members = [(c, self._steering(slots[c]), self._arrays.campaign(slots[c])) for c in sorted(slots)]
        outcome = "conversions" if self._rules[slot].counts_conversions else "clicks"
        proposals = portfolio_proposals(members, outcome, clock_ms)
        return [d for c, p in proposals.items() for d in self._propose(slots[c], p, Mode.RECOMMEND, clock_ms)]

    def _group(self, slot: int) -> tuple[str | int | bool, ...] | None:
        rules, campaign = self._rules[slot], self._ledger.standing(slot).campaign
        if campaign is None or rules.bidding.portfolio_id is None:
            return None
        home = int(self._arrays.campaign(slot)["home"])
        return campaign.org_id, rules.bidding.portfolio_id, campaign.currency, rules.counts_conversions, home

    def _next_step(self, slot: int, clock_ms: int, moved: bool, impressions: int) -> int:
        """Steps of campaigns fall evenly into each interval, each campaign's at its own place."""
        every_ms = QUIET_STEP_MS if moved or self._arrays.campaign(slot)["reserve"] > 0 else IDLE_STEP_MS
        if impressions >= _BUSY_IMPRESSIONS:
            every_ms = STEP_MS
        place_ms = zlib.crc32(self._registry.campaigns.key(slot).campaign_id.encode()) % STEP_MS
        return (clock_ms - place_ms) // STEP_MS * STEP_MS + place_ms + every_ms

    def _observation(self, slot: int, clock_ms: int, counters: Counted) -> Observation:
        state, row = self._steering(slot), self._arrays.campaign(slot)
        more = counters.since(state.counted)
        paused = bool(row["state"] == at.PAUSED)
        return Observation(
            now_ms=clock_ms,
            budgets=tuple(budget_states(row)),
            spend_micros=more.spend_micros,
            impressions=more.impressions,
            clicks=more.clicks,
            conversions=more.conversions,
            revenue_micros=more.revenue_micros,
            bid_in_force_micros=state.bid_micros,
            bid_held=state.holds(Kind.SET_BID, clock_ms),
            # A step in which it was paused for a while says nothing about its response either.
            paused=paused or state.was_paused,
            reporting_delay_ms=self._delay_ms(slot, counters),
        )

    @staticmethod
    def _remember_week(state: BiddingState, seen: Observation, rules: Rules) -> None:
        since_ms = None if state.controller is None else state.controller.seen_ms
        kept = 1.0 if since_ms is None else math.exp(-max(seen.now_ms - since_ms, 0) / _WEEK_MS)
        events = seen.conversions if rules.counts_conversions else seen.clicks
        state.week_spend = kept * state.week_spend + seen.spend_micros
        state.week_events = kept * state.week_events + events

    def _delay_ms(self, slot: int, counters: Counted) -> int | None:
        delay_ms = int(self._arrays.campaign(slot)["delay_ms"])
        return delay_ms if delay_ms >= DELAY_MS_MIN and counters.impressions >= _DELAY_EVENTS_MIN else None

    def _propose(self, slot: int, proposal: Proposal, mode: Mode, clock_ms: int) -> list[Decision]:
        """The decision of a proposal, unless a person's word or an earlier proposal stands against it."""
        state = self._steering(slot)
        if state.holds(proposal.kind, clock_ms):
            return []
        if mode is Mode.RECOMMEND and proposal.kind in _STANDING:
            # That automation has stopped is a fact and no recommendation.
            mode = Mode.AUTO
        acts = mode is Mode.AUTO
        if not acts and state.was_proposed(proposal.kind, proposal.after, clock_ms):
            return []
        org_id, campaign_id = self._registry.campaigns.key(slot)
        decision = as_decision(proposal, org_id=org_id, campaign_id=campaign_id, mode=mode, effective_ms=clock_ms)
        decision.inputs.version = self._ledger.standing(slot).version
        self._with_click_rate(slot, [decision])
        if acts:
            state.keep(decision)
        else:
            state.wait(decision)
        return [decision]

    def _reserve(self, slot: int, clock_ms: int) -> list[Decision]:
        """Hold back what is in flight, and pause or resume where that makes a difference."""
        row, state = self._arrays.campaign(slot), self._steering(slot)
        if row["state"] == at.PAUSED:
            settled = row["reserve"] > 0 and self._settled(slot, clock_ms)
            return self.note(slot, self._ledger.review(slot, Cause(clock_ms), None)) if settled else []
        state.pause_ms = None
        known = state.controller is not None and self._delay_ms(slot, self.counters(slot)) is not None
        limits = [int(row[b.limit]) for b in BUDGETS if row[b.limit] != at.FAR_MS]
        if not limits or not (known or row["reserve"]):
            return []
        estimate = reserved_micros(state.controller.lag) if known and state.controller is not None else 0
        # Half of a budget can always be spent, however slow the reports.
        row["reserve"] = min(estimate, *(limit // 2 for limit in limits))
        return self.note(slot, self._ledger.review(slot, Cause(clock_ms), None))

    def _settled(self, slot: int, clock_ms: int) -> bool:
        """Whether what came in after a pause shows that far less was under way than was held back.

        A pause measures what was in flight: all that is reported after it. The reporting delay is corrected by it.
        """
        row, state = self._arrays.campaign(slot), self._steering(slot)
        spent, controller = int(row["spent_total"]), state.controller
        if state.pause_ms is None:
            state.pause_ms, state.pause_spend = clock_ms, spent
        if controller is None or clock_ms - state.pause_ms < _SETTLED_AFTER * row["delay_ms"]:
            return False
        came = round(_SETTLED_MARGIN * (spent - state.pause_spend))
        left = [(int(row[b.limit] - row[b.spent]), int(row[b.limit])) for b in BUDGETS if row[b.limit] != at.FAR_MS]
        if came >= row["reserve"] or any(rest < max(2 * came, limit // 100) for rest, limit in left):
            return False
        share = came / int(row["reserve"])
        row["delay_ms"], row["reserve"] = round(share * int(row["delay_ms"])), came
        lag = msgspec.structs.replace(controller.lag, delay_ms=share * controller.lag.delay_ms)
        state.controller = msgspec.structs.replace(controller, lag=lag)
        return True

    # -- what is shown and kept ---------------------------------------------------------------------------------

    def shown(self, slot: int) -> dict[str, float | int | str | None]:
        """What live rows say of bidding; empty without a strategy."""
        rules, state = self._rules.get(slot), self._states.get(slot)
        if rules is None or state is None or state.controller is None:
            return {}
        bidding, controller = rules.bidding, state.controller
        clock_ms = self.clock_ms(slot)
        return {
            "strategy": bidding.strategy,
            "mode": bidding.mode.value,
            "bid_micros": state.bid_micros,
            "pacing_rate": state.pacing_rate,
            "goal": rules.goal,
            "multiplier": round(controller.log_goal, 6) if rules.has_goal else None,
            "halted": int(controller.halted),
            "learning": int(rules.outcomes(controller) < bidding.learning_events),
            "bid_held": "override" if state.overridden else "undo" if state.holds(Kind.SET_BID, clock_ms) else None,
            "modifiers": len(state.modifiers),
            "waiting": len(state.waiting),
            "in_flight_micros": int(self._arrays.campaign(slot)["reserve"]),
            "reporting_delay_ms": self._delay_ms(slot, self.counters(slot)),
        }

    def known(self, slot: int) -> BiddingState:
        """What is known of a campaign's bidding, to read."""
        return self._states.get(slot, _NOTHING)

    def snapshot(self) -> KeptRows:
        """One row a campaign: a packed `BiddingState`."""
        return KeptRows((slot, msgspec.msgpack.encode(state)) for slot, state in self._states.items())

    def load(self, rows: KeptRows) -> None:
        """Take the rows of a snapshot; the ledger must have its own."""
        self._states = {slot: msgspec.msgpack.decode(packed, type=BiddingState) for slot, packed in rows.items()}
        for slot, state in self._states.items():
            state.make_up()
            campaign = self._ledger.standing(slot).campaign
            if campaign is not None and campaign.bidding is not None:
                self._rules[slot] = rules_of(campaign)


def rules_of(campaign: Campaign) -> Rules:
    """What the controller of a campaign is set to."""
    assert campaign.bidding is not None
    return Rules(campaign.bidding, campaign.time_zone, campaign.end_ms, campaign.campaign_id)
