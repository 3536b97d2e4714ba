"""The bid strategies that a definition may name, and what each asks of it. What they do is in `bidding/strategies`."""

from __future__ import annotations

from typing import Final, NamedTuple


class Spec(NamedTuple):
    """What a person reads of a strategy, and the fields of `Bidding` that it cannot do without."""

    title: str
    explain: str
    needs: tuple[str, ...] = ()


MANUAL: Final = "manual"
SPECS: Final[dict[str, Spec]] = {
    MANUAL: Spec("Manual", "The bid stays where it is set; pacing and budgets still act.", ("bid_micros",)),
    "max_clicks": Spec("Max clicks", "As many clicks as the budget buys."),
    "max_conversions": Spec("Max conversions", "As many conversions as the budget buys."),
    "target_cpa": Spec("Target CPA", "Conversions at this cost each, on average.", ("target_cpa_micros",)),
    "target_roas": Spec("Target ROAS", "Revenue of so many times what is spent.", ("target_roas",)),
}


def known_strategy(name: str) -> str:
    """The name of a strategy that there is; raises ValueError for another."""
    if name not in SPECS:
        raise ValueError(f"is none of {', '.join(SPECS)}")
    return name
