"""Backtests of bidding on recorded auctions: the real decision code over the files, in order, blind to the future.

What a strategy knows up front: its budget (a fraction of the file's total market price) and how many auctions to
expect (`forecast_error` distorts that). Before it bids it sees the auction's pCTR; after it, whether it won, and the
price it paid if it did. A lost auction shows nothing.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.backtest_baselines import GRID, PID_GAINS, run_constant, run_pid
from bidding.auction_pacer import FIRST_PRICE_RULES, PaceRules, new_pacer, run_auctions
from bidding.hindsight import best_purchase, even_bound

# Prices in the files are fen (1/100 CNY) per thousand impressions.
FEN_MICROS: Final = 10_000
EVENNESS: Final = 0.05
STRATEGIES: Final = ("max_clicks", "linear", "pid", "fixed")


@dataclass(frozen=True, slots=True, eq=False)
class Auctions:
    """One file: highest other bid (CPM micros), value (pCTR) and click of each auction, in order."""

    name: str
    price_micros: NDArray[np.int64]
    value: NDArray[np.float64]
    click: NDArray[np.int64]

    @property
    def cost_micros(self) -> NDArray[np.int64]:
        """What each auction costs at the market price."""
        return -(-self.price_micros // 1_000)


@dataclass(frozen=True, slots=True)
class Row:
    """One file at one budget. `ratio` is expected clicks against hindsight's; `evenness_points` the largest gap
    between the share of the budget spent and the share of auctions gone by; `even_bound_ratio` what nobody can exceed
    whose spend stays within five points (None in first price)."""

    file: str
    strategy: str
    price: str
    budget_fraction: float
    auctions: int
    budget_micros: int
    spend_micros: int
    overspend_micros: int
    impressions: int
    clicks: int
    expected_clicks: float
    hindsight_expected_clicks: float
    ratio: float
    even_bound_ratio: float | None
    evenness_points: float


def read_auctions(path: Path) -> Auctions:
    """The auctions in a file of lines `click market_price pCTR`, plain or gzip; lines without three fields are headers.

    Raises ValueError, naming the line, when a line of three fields is not three numbers or has none that make sense.
    """
    clicks: list[int] = []
    prices: list[int] = []
    values: list[float] = []
    raw = path.read_bytes()
    text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if len(fields) != 3:
            continue
        try:
            click, price, value = int(fields[0]), round(float(fields[1]) * FEN_MICROS), float(fields[2])
        except ValueError as error:
            raise ValueError(f"{path.name}, line {number}: {error}") from error
        if click not in (0, 1) or price < 0 or not 0.0 <= value <= 1.0:
            raise ValueError(f"{path.name}, line {number}: click, price or pCTR out of range")
        clicks.append(click)
        prices.append(price)
        values.append(value)
    if not values:
        raise ValueError(f"{path.name}: no line has three fields")
    return Auctions(path.name.split(".")[0], np.array(prices), np.array(values), np.array(clicks))


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a strategy did on one file: which auctions it won, and its spend after each."""

    won: NDArray[np.bool_]
    spent_after: NDArray[np.int64]


def _undelivered(auctions: Auctions) -> Delivery:
    return Delivery(np.zeros(len(auctions.value), np.bool_), np.zeros(len(auctions.value), np.int64))


def deliver_max_clicks(auctions: Auctions, budget_micros: int, *, first_price: bool, forecast_error: float) -> Delivery:
    """The product's own bidder."""
    forecast = len(auctions.value) * (1.0 + forecast_error)
    state = new_pacer(budget_micros, forecast, first_price=first_price)
    done = _undelivered(auctions)
    rules = FIRST_PRICE_RULES if first_price else PaceRules()
    run_auctions(state, rules, auctions.price_micros, auctions.value, done.won, done.spent_after)
    return done


def deliver_pid(auctions: Auctions, budget_micros: int, *, first_price: bool) -> Delivery:
    """The PID pacer."""
    done = _undelivered(auctions)
    prices, values = auctions.price_micros, auctions.value
    run_pid(prices, values, budget_micros, PID_GAINS, first_price, done.won, done.spent_after)
    return done


def deliver_constant(
    auctions: Auctions, budget_micros: int, multiple: float, *, linear: bool, first_price: bool
) -> Delivery:
    """A fixed bid of `multiple` even prices, or that bid for the file's average value and in proportion otherwise.

    The average value stands for what a campaign knows from its past (the published LIN baseline has it too).
    """
    even = multiple * 1_000.0 * budget_micros / len(auctions.value)
    per_value = even / float(auctions.value.mean()) if linear else 0.0
    flat = 0.0 if linear else even
    done = _undelivered(auctions)
    prices, values = auctions.price_micros, auctions.value
    run_constant(prices, values, budget_micros, per_value, flat, first_price, done.won, done.spent_after)
    return done


def _tuned_elsewhere(files: Sequence[Auctions], fraction: float, *, linear: bool, first_price: bool) -> list[float]:
    """For each file the grid's multiple with the best mean ratio on all other files (on itself if it is alone)."""
    ratios = np.empty((len(files), len(GRID)))
    for i, auctions in enumerate(files):
        budget = budget_of(auctions, fraction)
        best = best_purchase(auctions.cost_micros, auctions.value, budget).value
        for k, multiple in enumerate(GRID):
            done = deliver_constant(auctions, budget, multiple, linear=linear, first_price=first_price)
            ratios[i, k] = float(auctions.value[done.won].sum()) / best
    others = ratios.sum(axis=0) - ratios if len(files) > 1 else ratios
    return [GRID[int(k)] for k in others.argmax(axis=1)]


def budget_of(auctions: Auctions, fraction: float) -> int:
    """The budget in micros: a fraction of what all auctions cost together."""
    return int(fraction * int(auctions.cost_micros.sum()))


def backtest(
    files: Sequence[Auctions],
    fraction: float,
    strategy: str,
    *,
    first_price: bool = False,
    forecast_error: float = 0.0,
    advance: Callable[[], None] = lambda: None,
) -> list[Row]:
    """One row a file. Raises ValueError for an unknown strategy; `advance` is called after each file."""
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy {strategy!r} is none of {', '.join(STRATEGIES)}")
    tuned = [0.0] * len(files)
    if strategy in ("linear", "fixed"):
        tuned = _tuned_elsewhere(files, fraction, linear=strategy == "linear", first_price=first_price)
    rows = []
    for auctions, multiple in zip(files, tuned, strict=True):
        budget = budget_of(auctions, fraction)
        if strategy == "max_clicks":
            done = deliver_max_clicks(auctions, budget, first_price=first_price, forecast_error=forecast_error)
        elif strategy == "pid":
            done = deliver_pid(auctions, budget, first_price=first_price)
        else:
            done = deliver_constant(auctions, budget, multiple, linear=strategy == "linear", first_price=first_price)
        rows.append(_row(auctions, fraction, strategy, first_price, done))
        advance()
    return rows


@lru_cache(maxsize=64)
def _references(auctions: Auctions, budget_micros: int) -> tuple[float, float]:
    """Hindsight's expected clicks, and the bound on those of anyone whose spend is even."""
    cost, value = auctions.cost_micros, auctions.value
    return best_purchase(cost, value, budget_micros).value, even_bound(cost, value, budget_micros, EVENNESS)


def _row(auctions: Auctions, fraction: float, strategy: str, first_price: bool, done: Delivery) -> Row:
    budget = budget_of(auctions, fraction)
    n = len(auctions.value)
    best, evenly = _references(auctions, budget)
    bound = None if first_price else evenly / best
    expected = float(auctions.value[done.won].sum())
    spend = int(done.spent_after[-1])
    gap = np.abs(done.spent_after / budget - np.arange(1, n + 1) / n).max()
    return Row(
        file=auctions.name,
        strategy=strategy,
        price="first" if first_price else "second",
        budget_fraction=fraction,
        auctions=n,
        budget_micros=budget,
        spend_micros=spend,
        overspend_micros=max(spend - budget, 0),
        impressions=int(done.won.sum()),
        clicks=int(auctions.click[done.won].sum()),
        expected_clicks=round(expected, 6),
        hindsight_expected_clicks=round(best, 6),
        ratio=round(expected / best, 6),
        even_bound_ratio=None if bound is None else round(min(bound, 1.0), 6),
        evenness_points=round(100.0 * float(gap), 3),
    )
