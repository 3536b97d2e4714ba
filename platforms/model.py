"""What adapters speak: a change in, requests out, responses in, an outcome out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from msgspec import UNSET, UnsetType

from platforms.money import minor_units
from schemas.campaigns import PlatformLink
from schemas.decision_parts import BudgetChange
from schemas.decisions import Decision, Kind, Pause, Resume, SetBid, SetBidModifiers, SetBudget

# A bid of CPM micros is for a thousand impressions.
PER_MILLE: Final = 1_000
# Amounts beyond this are no bid and no budget of anybody: ten billion units.
AMOUNT_MICROS_MAX: Final = 10**16
# A click in a million impressions; dividing by less makes a bid of any height.
CTR_LEAST: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Change:
    """A decision as one platform object needs it. Exactly one of the values is set, by `kind`."""

    kind: Kind
    link: PlatformLink
    currency: str
    decision_id: str
    paused: bool | None = None
    # CPM in micros; `cpc_micros` where the link bids per click: the CPM divided by the decision's click rate.
    bid_micros: int | None = None
    cpc_micros: int | None = None
    daily_budget_micros: int | None = None
    total_budget_micros: int | None = None
    # "dimension=value" -> factor.
    modifiers: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request without credentials, which the host adds. `body` is JSON, `form` form fields."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    form: Mapping[str, str] | None = None
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Response:
    """What came back; `body` is parsed JSON, or the text when it is none; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: Any
    received_ms: int = 0


@dataclass(frozen=True, slots=True)
class Applied:
    """In effect."""

    platform_request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """Not in effect yet; the same request may go through later. `after_s` when the platform says when."""

    code: str
    message: str
    after_s: float | None = None
    # No answer, or one that does not say: the platform may have carried it out, or may do so yet.
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """Not in effect, and the same request will be refused again."""

    code: str
    message: str
    platform_request_id: str | None = None


Outcome = Applied | Retry | Rejected


@dataclass(frozen=True, slots=True)
class Unsupported:
    """The platform has no such control, or the change lacks what it needs; the message says which."""

    message: str


class Adapter(Protocol):
    """One platform: a file, and a line in `platforms.registry`. Does no HTTP and keeps no state."""

    platform: str
    base_url: str
    # Requests a second that one account may send, below the platform's own limit.
    requests_per_second: float
    # What the platform's credentials must hold.
    needs: frozenset[str]

    def make_requests(self, change: Change) -> list[Request] | Unsupported:
        """The requests that bring the change into effect, in order."""
        ...

    def read_response(self, response: Response) -> Outcome:
        """What one response means."""
        ...

    def sign(self, method: str, url: str, credentials: Mapping[str, str]) -> Mapping[str, str]:
        """Headers that carry the credentials, or the signature of a request made with them (X)."""
        ...


def changes_of(decision: Decision, link: PlatformLink, currency: str) -> Mapping[str, Change | Unsupported]:
    """What a decision means for a linked platform object: the change of each field, or why there is none.

    Of two decisions on one field only the newer counts, so a daily and a total budget are two fields. Pacing and
    standing are for our own bidder only. Raises ValueError when the decision does not hold what its kind needs.
    """
    kind = Kind(decision.kind)
    change = Change(kind, link, currency, decision.decision_id)
    match decision:
        case Pause() | Resume():
            return {field_of(kind): replace(change, paused=kind == Kind.PAUSE)}
        case SetBid():
            return {field_of(kind): _bid(change, decision)}
        case SetBudget():
            return _budgets(change, decision.after)
        case SetBidModifiers():
            return {field_of(kind): replace(change, modifiers=_modifiers(decision.after.modifiers))}
    return {field_of(kind): Unsupported(f"{kind} is not for ad platforms")}


def field_of(kind: str) -> str:
    """The field a decision changes: of two decisions on one field only the newer counts.

    >>> field_of("pause") == field_of("resume"), field_of("set_bid")
    (True, 'set_bid')
    """
    return "state" if kind in (Kind.PAUSE, Kind.RESUME) else kind


def _bid(change: Change, decision: SetBid) -> Change | Unsupported:
    cpm = _micros(decision.after.bid_micros, "bid_micros")
    if change.link.bids_per == "thousand":
        return _payable(replace(change, bid_micros=cpm), cpm)
    ctr = decision.inputs.ctr
    if isinstance(ctr, UnsetType) or not CTR_LEAST <= ctr <= 1:
        return Unsupported("the link bids per click, and the decision knows no click rate yet")
    cpc = round(cpm / PER_MILLE / ctr)
    return _payable(replace(change, bid_micros=cpm, cpc_micros=cpc), cpc)


def _payable(change: Change, micros: int) -> Change | Unsupported:
    if minor_units(micros, change.currency) < 1:
        return Unsupported(f"the bid is less than the smallest amount of {change.currency}")
    return change


def _budgets(change: Change, after: BudgetChange) -> Mapping[str, Change | Unsupported]:
    changes: dict[str, Change | Unsupported] = {}
    daily, total = after.daily_budget_micros, after.total_budget_micros
    if daily is not None and daily is not UNSET:
        changes["set_budget"] = replace(change, daily_budget_micros=_micros(daily, "daily_budget_micros"))
    if total is not None and total is not UNSET:
        changes["set_total_budget"] = replace(change, total_budget_micros=_micros(total, "total_budget_micros"))
    return changes or {"set_budget": Unsupported("the decision names no daily or total budget")}


def _micros(value: int | UnsetType | None, name: str) -> int:
    if not isinstance(value, int) or not 0 < value <= AMOUNT_MICROS_MAX:
        raise ValueError(f"{name} is no amount of micros above 0")
    return value


def _modifiers(given: Mapping[str, float]) -> Mapping[str, float]:
    if not all(math.isfinite(value) for value in given.values()):
        raise ValueError("modifiers is no object of numbers")
    return given


def text_at(body: Any, *path: str | int) -> str | None:
    """The text at a path of a JSON answer; None where it is not there.

    >>> text_at({"error": {"code": 4}}, "error", "code")
    '4'
    """
    for step in path:
        try:
            body = body[step]
        except (KeyError, IndexError, TypeError):
            return None
    return None if body is None else str(body)


def seconds(text: str | None) -> float | None:
    """A Retry-After in seconds; None where it is absent or a date."""
    try:
        return None if text is None else max(0.0, float(text))
    except ValueError:
        return None
