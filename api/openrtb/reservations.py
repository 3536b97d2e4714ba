"""Spend that is won and not yet billed, and bids whose outcome is not known: taken off what may be spent."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

# A bid without a notice is taken as lost after this: exchanges answer within seconds.
BID_MS: Final = 10_000
# A win without a billing notice (never rendered) is let go after this.
WIN_MS: Final = 300_000
# Bids remembered; with the oldest let go first, a flood cannot take the memory.
OPEN_MAX: Final = 200_000

Campaign = tuple[str, str]
# bid id -> (campaign, micros, until when)
_Held = OrderedDict[str, tuple[Campaign, int, int]]


class Reservations:
    """Open bids and wins by bid id. Time is an argument."""

    def __init__(self) -> None:
        self._bids: _Held = OrderedDict()
        self._wins: _Held = OrderedDict()
        self._held: dict[Campaign, int] = {}

    def held_micros(self, campaign: Campaign) -> int:
        """What is reserved for a campaign now."""
        return self._held.get(campaign, 0)

    def bid(self, bid_id: str, campaign: Campaign, micros: int, now_ms: int) -> None:
        """A bid went out; it may cost this much."""
        self.expire(now_ms)
        self._put(self._bids, bid_id, campaign, micros, now_ms + BID_MS)

    def win(self, bid_id: str, campaign: Campaign, micros: int, now_ms: int) -> None:
        """It won at this price; a second notice of the same win changes nothing."""
        self.expire(now_ms)
        self._drop(self._bids, bid_id)
        if bid_id not in self._wins:
            self._put(self._wins, bid_id, campaign, micros, now_ms + WIN_MS)

    def close(self, bid_id: str, now_ms: int) -> None:
        """It lost, or was billed: the ledger has it from here on."""
        self.expire(now_ms)
        self._drop(self._bids, bid_id)
        self._drop(self._wins, bid_id)

    def expire(self, now_ms: int) -> None:
        """Let go of what is overdue."""
        for held in (self._bids, self._wins):
            while held and (next(iter(held.values()))[2] <= now_ms or len(held) > OPEN_MAX):
                self._drop(held, next(iter(held)))

    def _put(
        self,
        held: _Held,
        bid_id: str,
        campaign: Campaign,
        micros: int,
        until: int,
    ) -> None:
        self._drop(held, bid_id)
        held[bid_id] = (campaign, micros, until)
        self._held[campaign] = self._held.get(campaign, 0) + micros

    def _drop(self, held: _Held, bid_id: str) -> None:
        entry = held.pop(bid_id, None)
        if entry is None:
            return
        campaign, micros, _ = entry
        left = self._held[campaign] - micros
        if left > 0:
            self._held[campaign] = left
        else:
            del self._held[campaign]
