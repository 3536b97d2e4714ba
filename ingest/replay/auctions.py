"""Real second-price auctions as a market that a campaign bids in.

File format: `click market_price pCTR` a line, the price in fen (1/100 CNY) per thousand impressions, as han-cai/rlb-dp
prepared the iPinYou data; lines with another number of fields are headers between episodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ingest.replay.ipinyou import COST_MICROS_PER_FEN_CPM
from ingest.replay.lines import BadLine, RecordedFile
from schemas.identity import stable_id

# fen per thousand impressions to micros of a CNY per thousand impressions.
CPM_MICROS_PER_FEN: Final = 10_000


class Auction(NamedTuple):
    """One auction: whether its impression was clicked, the price to beat, and the click probability of a model."""

    clicked: bool
    market_price_fen: int
    p_click: float


def read_auctions(file: RecordedFile) -> Iterator[Auction | BadLine]:
    """The auctions of a file in order; headers are skipped. Raises OSError."""
    for line in file.lines():
        if isinstance(line, BadLine):
            yield line
            continue
        fields = line.content.split()
        if len(fields) != 3:
            continue
        try:
            auction = Auction(fields[0] == b"1", int(fields[1]), float(fields[2]))
        except ValueError:
            yield BadLine(file.path, line.number, "is not `click market_price pCTR`")
            continue
        if fields[0] not in (b"0", b"1") or auction.market_price_fen < 0 or not 0 <= auction.p_click <= 1:
            yield BadLine(
                file.path, line.number, "has a click that is not 0 or 1, a price below 0, or a pCTR outside 0 to 1"
            )
        else:
            yield auction


@dataclass(slots=True)
class Participation:
    """Takes part in a share of the auctions, evenly and without chance.

    >>> half = Participation()
    >>> [half.takes_part(0.5) for _ in range(4)]
    [False, True, False, True]
    """

    _credit: float = 0.0

    def takes_part(self, pacing_rate: float) -> bool:
        """Whether to bid in the next auction, `pacing_rate` being the share of auctions to take part in."""
        self._credit += pacing_rate
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        return True


class MarketEvents:
    """The events of a campaign's wins; `run` keeps the ids of two replays of a file apart."""

    def __init__(self, campaign_id: str, *, run: str) -> None:
        self._campaign_id = campaign_id
        self._name = stable_id(campaign_id, run)[:16]

    def of(self, number: int, auction: Auction, bid_micros: int, ts_ms: int) -> list[dict[str, Any]]:
        """What auction `number` gives for a CPM bid: nothing when lost, else the impression, and its click if any.

        A bid of at least the market price wins at the market price, as in a second-price auction.

        >>> market = MarketEvents("2821", run="r")
        >>> market.of(0, Auction(False, 201, 0.001), bid_micros=2_009_999, ts_ms=0)
        []
        >>> market.of(0, Auction(False, 201, 0.001), bid_micros=2_010_000, ts_ms=0)[0]["cost_micros"]
        2010
        """
        if bid_micros < auction.market_price_fen * CPM_MICROS_PER_FEN:
            return []
        impression_id = f"{self._name}-{number}"
        common = {"ts": ts_ms, "campaign_id": self._campaign_id, "channel": "display", "platform": "openrtb"}
        impression = {
            "event_id": impression_id,
            "type": "impression",
            "cost_micros": COST_MICROS_PER_FEN_CPM * auction.market_price_fen,
            "p_click": auction.p_click,
            **common,
        }
        if not auction.clicked:
            return [impression]
        click = {"event_id": f"{impression_id}.c", "type": "click", "impression_id": impression_id, **common}
        return [impression, click]
