"""The newest word on each campaign for topic `serving`, made from the shard's state where it changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from bidding.strategies.registry import strategy_of
from flows.logic.bidding.stage import BiddingStage
from flows.logic.budgets.kinds import BUDGETS
from flows.logic.budgets.ledger import Ledger
from flows.logic.campaigns.registry import Registry
from flows.logic.windows import layout as at
from flows.logic.windows.arrays import Arrays
from schemas.campaigns import Bidding, Campaign
from schemas.decisions import SEQUENCE_BITS, Mode, Reason, next_sequence
from schemas.serving import Serving, encode_serving

# What is left to spend is said again once it differs by this part of what was said last, at a tick.
STEP_PART: Final = 8
# Words of one tick about nothing but what is left, or said anew: at some 30 us each they hold events up by 30 ms.
WORDS_MAX: Final = 1_000
# A word is said again after so long, so that a topic that lost records is whole again within a day.
REPEAT_MS: Final = 86_400_000
# In the column `left`: no budget, and nothing was said yet.
_NO_BUDGET: Final = -1
_UNSAID: Final = -2

# Of a campaign's last word: its sequence, what was left by it in micros, a hash of the rest.
_ROW: Final = np.dtype([("seq", np.int64), ("left", np.int64), ("digest", np.uint64)])


class ServingWords:
    """What was said of each campaign of a shard, and what is to be said next."""

    def __init__(self, arrays: Arrays, registry: Registry, ledger: Ledger, bidding: BiddingStage) -> None:
        self._arrays = arrays
        self._registry = registry
        self._ledger = ledger
        self._bidding = bidding
        self._rows = _unsaid(0)

    def say(self, slots: Iterable[int], now_ms: int) -> list[Serving]:
        """Words of those campaigns that people set something for and of which there is something else to say."""
        return [word for slot in slots for word in self._word(slot, now_ms)]

    def at_tick(self, home: NDArray[np.bool_], now_ms: int) -> list[Serving]:
        """Words of those campaigns among `home` that may spend noticeably more or less than was said, or of which
        nothing was said for long; those that wait longest first."""
        camp, rows = self._arrays.campaigns_used(), self._used()
        left, said = left_micros(camp), rows["left"]
        moved = (left != said) & (np.abs(left - said) >= said // STEP_PART)
        old = rows["seq"] < max(0, now_ms - REPEAT_MS) << SEQUENCE_BITS
        due = np.flatnonzero(home & (camp["state"] != at.UNKNOWN) & (moved | old))
        due = due[np.argsort(rows["seq"][due], kind="stable")][:WORDS_MAX]
        return [word for slot in due.tolist() for word in self._word(slot, now_ms, again=True)]

    def forget(self) -> None:
        """Say everything once more at the next ticks: the topic has nothing."""
        self._rows["left"], self._rows["digest"] = _UNSAID, 0

    def snapshot(self) -> NDArray[np.void]:
        """A row a slot."""
        return self._used().copy()

    def load(self, rows: NDArray[np.void] | None) -> None:
        """Take the rows of a snapshot; without any everything is said once more."""
        self._rows = _unsaid(0) if rows is None else rows.copy()

    def _used(self) -> NDArray[np.void]:
        campaigns = self._arrays.campaigns
        if len(self._rows) < campaigns:
            self._rows = np.concatenate([self._rows, _unsaid(2 * campaigns - len(self._rows))])
        return self._rows[:campaigns]

    def _word(self, slot: int, now_ms: int, *, again: bool = False) -> list[Serving]:
        if slot not in self._ledger.standings:
            return []
        row, state = self._used()[slot], self._state(slot)
        digest = int.from_bytes(hashlib.blake2b(encode_serving(state), digest_size=8).digest(), "little")
        left = int(left_micros(self._arrays.campaigns_used()[slot : slot + 1])[0])
        if not again and digest == row["digest"] and left == row["left"]:
            return []
        row["seq"], row["left"], row["digest"] = next_sequence(int(row["seq"]), now_ms), left, digest
        state.seq, state.spendable_micros = int(row["seq"]), None if left == _NO_BUDGET else left
        return [state]

    def _state(self, slot: int) -> Serving:
        """The state as bidders read it, but for `seq` and what may be spent."""
        key, standing = self._registry.campaigns.key(slot), self._ledger.standing(slot)
        known, campaign, reason = self._bidding.known(slot), standing.campaign, standing.reason
        if campaign is None and standing.override is not None:
            reason = Reason.PAUSED_BY_PERSON
        state = Serving(
            org_id=key.org_id,
            campaign_id=key.campaign_id,
            paused=reason is not None,
            pause_reason=None if reason is None else reason.value,
            bid_micros=known.decided_bid_micros,
            pacing_rate=float(known.pacing_rate),
            modifiers={name: float(factor) for name, factor in known.modifiers.items()},
            decided_ms=known.decided_ms,
            decision_id=known.decision_id,
            version=standing.version,
            override_version=known.word_version,
        )
        if campaign is None:
            return state
        if campaign.bidding is not None and not strategy_of(campaign.bidding).sets_bid:
            # A person's bid needs no decision where automation does not act.
            state.bid_micros = known.bid_micros
        return _of_definition(state, campaign)


def left_micros(camp: NDArray[np.void]) -> NDArray[np.int64]:
    """What is left of the tightest budget of each campaign, less what is held back; _NO_BUDGET without one."""
    left = np.full(len(camp), at.FAR_MS, np.int64)
    for budget in BUDGETS:
        limit = camp[budget.limit]
        np.minimum(left, np.where(limit == at.FAR_MS, at.FAR_MS, limit - camp[budget.spent]), out=left)
    return np.where(left == at.FAR_MS, _NO_BUDGET, np.maximum(left - camp["reserve"], 0))


def _of_definition(state: Serving, campaign: Campaign) -> Serving:
    bidding = campaign.bidding
    return msgspec.structs.replace(
        state,
        # What the definition says, until a bid was decided.
        bid_micros=bidding.bid_micros if state.bid_micros is None and bidding is not None else state.bid_micros,
        currency=campaign.currency,
        start_ms=campaign.start_ms,
        end_ms=campaign.end_ms,
        day_parts=_day_parts(bidding),
        time_zone=campaign.time_zone,
    )


def _day_parts(bidding: Bidding | None) -> list[int] | None:
    """Day parts hold where automation acts, as in the dataflow."""
    if bidding is None or bidding.mode is not Mode.AUTO or bidding.day_parts is None:
        return None
    return sorted(set(bidding.day_parts))


def _unsaid(rows: int) -> NDArray[np.void]:
    fresh = np.zeros(rows, _ROW)
    fresh["left"] = _UNSAID
    return fresh
