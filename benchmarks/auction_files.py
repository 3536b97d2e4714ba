"""Seeded files of second-price auctions in the form that `replay auctions` and `backtest bidding` read.

A line is `click market_price pCTR`, the price in fen per thousand impressions. Prices are lognormal about a level that
follows the hour, pCTR is lognormal and weakly tied to the price, as in the published logs; clicks are drawn from pCTR.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Final

import numpy as np

# Median price in fen per thousand, and spreads of the logarithms.
PRICE_FEN: Final = 70.0
PRICE_SIGMA: Final = 0.7
P_CLICK: Final = 0.000_6
P_CLICK_SIGMA: Final = 0.9
# Share of pCTR's spread that the price explains.
TIED: Final = 0.25


def write_auction_file(path: Path, auctions: int, seed: int) -> int:
    """Write so many auctions, compressed when the name ends in .gz; its size in bytes."""
    rng = np.random.default_rng(seed)
    # One day: prices rise by a third towards the evening.
    level = 1 + 0.33 * np.sin(np.linspace(-np.pi / 2, np.pi / 2, auctions))
    drawn, own = rng.standard_normal(auctions), rng.standard_normal(auctions)
    prices = np.maximum(1, np.round(PRICE_FEN * level * np.exp(PRICE_SIGMA * drawn))).astype(np.int64)
    p_click = np.minimum(0.5, P_CLICK * np.exp(P_CLICK_SIGMA * (TIED * drawn + np.sqrt(1 - TIED**2) * own)))
    clicks = (rng.random(auctions) < p_click).astype(np.int64)
    lines = zip(clicks.tolist(), prices.tolist(), p_click.tolist(), strict=True)
    text = "".join(f"{click} {price} {chance:.8f}\n" for click, price, chance in lines).encode()
    # No time in the head, so that the same seed gives the same bytes.
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
    return path.stat().st_size
