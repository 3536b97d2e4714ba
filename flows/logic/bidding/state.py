"""What bidding knows of one campaign: its controller, what is in force, what people said, what was decided."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from bidding.segments import Seen
from bidding.state import CampaignState
from schemas.decision_parts import AutomationChange, BidChange, Change, ModifiersChange, PacingChange
from schemas.decisions import (
    Decision,
    Kind,
    Mode,
    SetBid,
    SetBidModifiers,
    SetPacing,
    change_of,
    decode_decision,
    encode_decision,
    named,
)

# Decisions that took effect and can be undone, and recommendations that can be approved; older ones are forgotten.
HISTORY_MAX: Final = 50
WAITING_MAX: Final = 20
# Decisions whose last word is remembered, so that it is not taken twice: more than there are to speak of.
WORDS_MAX: Final = 100
# What waits for a word or was rejected is not proposed again for so long, unless by then it would be another change.
REPEAT_MS: Final = 3_600_000
# Changes nearer to each other than this share of the larger are the same proposal.
_SAME_SHARE: Final = 0.1
_FAR_MS: Final = 2**62
# Kinds of decisions that change what bidders are served.
_SERVED: Final = (Kind.PAUSE, Kind.RESUME, Kind.SET_BID, Kind.SET_PACING, Kind.SET_BID_MODIFIERS)


class Made(msgspec.Struct):
    """A decision that took effect, as far as undoing it needs."""

    decision_id: str
    kind: str
    reason: str
    before: dict[str, Any]
    # The recommendation that a person approved, when it was one.
    approved: str = ""

    @property
    def former(self) -> Change:
        """What there was before."""
        return change_of(Kind(self.kind), self.before)

    @property
    def can_be_undone(self) -> bool:
        """Whether there was something before."""
        return all(value is not None for value in self.before.values())


class Proposed(msgspec.Struct):
    """What was last proposed of a kind in a mode that does not act."""

    after: dict[str, Any]
    ts_ms: int


class Counted(NamedTuple):
    """A campaign's counters since it is known."""

    impressions: int = 0
    clicks: int = 0
    conversions: int = 0
    leads: int = 0
    spend_micros: int = 0
    revenue_micros: int = 0

    def since(self, before: Counted) -> Counted:
        """What was added, at least 0."""
        return Counted(*(max(now - then, 0) for now, then in zip(self, before, strict=True)))


class BiddingState(msgspec.Struct):
    """State of bidding for one campaign; `controller` is None without a strategy.

    `word_version` is the newest override that was heard, `counted` the campaign's counters at the last step, and `held`
    the kinds of decisions that automation keeps its hands off, with the campaign clock until when.
    """

    controller: CampaignState | None = None
    bid_micros: int | None = None
    pacing_rate: float = 1.0
    modifiers: dict[str, float] = {}
    # The last bid that was decided, which is not the one in force under a manual bid in a mode that does not act.
    decided_bid_micros: int | None = None
    # The last decision that changed what is served, and from when.
    decision_id: str | None = None
    decided_ms: int = 0
    # The bid was sent out once.
    published: bool = False
    # A person's bid stands until it is lifted.
    overridden: bool = False
    word_version: int = 0
    held: dict[str, int] = {}
    counted: Counted = Counted()
    was_paused: bool = False
    # When a budget paused it with spend under way, and the total spend at that moment.
    pause_ms: int | None = None
    pause_spend: int = 0
    history: list[bytes] = []
    waiting: list[bytes] = []
    proposed: dict[str, Proposed] = {}
    # By "dimension=value", of past days and, as of the last look, of the day that began at `segment_day_ms`.
    segments: dict[str, Seen] = {}
    segments_today: dict[str, Seen] = {}
    segment_day_ms: int = 0
    beat: int | None = None
    # Spend and outcomes of about the last week, and when the portfolio was looked at.
    week_spend: float = 0.0
    week_events: float = 0.0
    portfolio_at_ms: int = 0
    # By decision: the version of the last word on it.
    words: dict[str, int] = {}

    def hears(self, decision_id: str, version: int) -> bool:
        """Whether a word on a decision is newer than the last one; remembers it."""
        if version <= self.words.get(decision_id, 0):
            return False
        kept = [(each, known) for each, known in self.words.items() if each != decision_id]
        self.words = dict([*kept[1 - WORDS_MAX :], (decision_id, version)])
        return True

    def correct(self, before: Counted, after: Counted, counts_conversions: bool) -> None:
        """Follow a correction of the campaign's counters.

        Money that is added or taken back is no answer to a bid: it is not seen as spend of the step in progress.
        Outcomes that are added are learned like late ones; of those taken back, what was learned is unlearned.
        """
        moved = after.spend_micros - before.spend_micros
        was = self.counted
        capped = Counted(*map(min, was, after))
        self.counted = capped._replace(spend_micros=was.spend_micros + moved)
        self.pause_spend += moved
        self.week_spend = max(self.week_spend + moved, 0.0)
        events = was.conversions - capped.conversions if counts_conversions else was.clicks - capped.clicks
        self.week_events = max(self.week_events - events, 0.0)
        if self.controller is not None:
            self.controller = unlearned(self.controller, moved, was, capped)

    def holds(self, kind: Kind, clock_ms: int) -> bool:
        """Whether a person's word keeps automation off this kind of change."""
        return self.held.get(kind.value, -_FAR_MS) > clock_ms or (kind is Kind.SET_BID and self.overridden)

    def in_force(self, kind: Kind) -> Change:
        """What a kind of decision on bidding changes, as it is now."""
        match kind:
            case Kind.SET_BID:
                return BidChange(self.bid_micros)
            case Kind.SET_PACING:
                return PacingChange(self.pacing_rate)
            case Kind.SET_BID_MODIFIERS:
                return ModifiersChange(self.modifiers)
            case _:
                halted = self.controller is not None and self.controller.halted
                return AutomationChange("halted" if halted else "running")

    def keep(self, decision: Decision, approved: str = "") -> None:
        """Take over what a decision changes, and remember it so that it can be undone."""
        if decision.kind in _SERVED:
            self.decision_id, self.decided_ms = decision.decision_id, decision.effective_ms
        match decision:
            case SetBid():
                self.bid_micros = self.decided_bid_micros = decision.after.bid_micros
                self.published = True
            case SetPacing():
                self.pacing_rate = decision.after.pacing_rate
            case SetBidModifiers():
                self.modifiers = decision.after.modifiers
            case _:
                pass
        made = Made(decision.decision_id, decision.kind, decision.reason, named(decision.before), approved)
        self.history = [*self.history[1 - HISTORY_MAX :], msgspec.msgpack.encode(made)]

    def make_up(self) -> None:
        """Make up for what a snapshot from before topic `serving` does not hold."""
        if self.decision_id is not None:
            return
        made = (msgspec.msgpack.decode(packed, type=Made) for packed in reversed(self.history))
        self.decision_id = next((each.decision_id for each in made if each.kind in _SERVED), None)
        self.decided_bid_micros = self.bid_micros if self.published else None

    def made(self, decision_id: str) -> Made | None:
        """The decision that took effect under this id, or by approval of the recommendation of this id."""
        for packed in reversed(self.history):
            made = msgspec.msgpack.decode(packed, type=Made)
            if decision_id in (made.decision_id, made.approved):
                return made
        return None

    def wait(self, decision: Decision) -> None:
        """Remember what was proposed; a recommendation so that it can be approved."""
        self.proposed = self.proposed | {decision.kind: Proposed(named(decision.after), decision.ts_ms)}
        if decision.mode == Mode.RECOMMEND:
            self.waiting = [*self.waiting[1 - WAITING_MAX :], encode_decision(decision)]

    def recommended(self, decision_id: str) -> Decision | None:
        """The recommendation of this id, as long as it is remembered and was not approved."""
        found = (decode_decision(packed) for packed in self.waiting)
        return next((decision for decision in found if decision.decision_id == decision_id), None)

    def approve(self, decision_id: str) -> None:
        """Forget a recommendation that took effect."""
        self.waiting = [packed for packed in self.waiting if decode_decision(packed).decision_id != decision_id]

    def reject(self, decision: Decision, clock_ms: int) -> None:
        """Do not propose the like of a recommendation for a while."""
        self.proposed = self.proposed | {decision.kind: Proposed(named(decision.after), clock_ms)}

    def was_proposed(self, kind: Kind, after: Change, clock_ms: int) -> bool:
        """Whether much the same change was proposed lately."""
        last = self.proposed.get(kind)
        return last is not None and 0 <= clock_ms - last.ts_ms < REPEAT_MS and same_change(last.after, named(after))


def unlearned(known: CampaignState, moved: int, was: Counted, capped: Counted) -> CampaignState:
    """A controller without outcomes that are not any more, and with `moved` more spend to reach its goal by."""
    gone = Counted(*(then - now for then, now in zip(was, capped, strict=True)))
    return msgspec.structs.replace(
        known,
        impressions=max(known.impressions - gone.impressions, 0),
        clicks=max(known.clicks - gone.clicks, 0),
        conversions=max(known.conversions - gone.conversions, 0),
        response_impressions=max(known.response_impressions - gone.impressions, 0.0),
        response_clicks=max(known.response_clicks - gone.clicks, 0.0),
        goal_spend=max(known.goal_spend + moved, 0.0),
        goal_conversions=max(known.goal_conversions - gone.conversions, 0.0),
        goal_revenue=max(known.goal_revenue - gone.revenue_micros, 0.0),
    )


def same_change(one: Any, other: Any) -> bool:
    """Whether two values of a change differ too little to tell a person of both.

    >>> same_change({"bid_micros": 100}, {"bid_micros": 105}), same_change({"bid_micros": 100}, {"bid_micros": 130})
    (True, False)
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_change(one[key], other[key]) for key in one)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) <= _SAME_SHARE * max(abs(one), abs(other))
    return bool(one == other)
