"""What adapters speak: a change in, requests out, responses in, an outcome out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from schemas.campaigns import PlatformLink
from schemas.decisions import Decision, Kind

# A bid of CPM micros is for a thousand impressions.
PER_MILLE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Change:
    """A decision as one platform object needs it. Exactly one of the values is set, by `kind`."""

    kind: Kind
    link: PlatformLink
    currency: str
    decision_id: str
    paused: bool | None = None
    # CPM in micros; `cpc_micros` where the platform bids per click and the decision knows the click rate.
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
    """One platform. Does no HTTP, keeps no state, knows no credentials."""

    platform: str
    base_url: str
    # Requests a second that one account may send, below the platform's own limit.
    requests_per_second: float

    def make_requests(self, change: Change) -> list[Request] | Unsupported:
        """The requests that bring the change into effect, in order."""
        ...

    def read_response(self, response: Response) -> Outcome:
        """What one response means."""
        ...

    def auth_headers(self, credentials: Mapping[str, str]) -> Mapping[str, str]:
        """Headers that carry the credentials; empty where each request is signed (X)."""
        ...


def change_of(decision: Decision, link: PlatformLink, currency: str) -> Change | Unsupported:
    """What a decision means for a linked platform object; pacing and standing are for our own bidder only."""
    after = decision.after
    change = Change(Kind(decision.kind), link, currency, decision.decision_id)
    match decision.kind:
        case Kind.PAUSE | Kind.RESUME:
            return replace(change, paused=decision.kind == Kind.PAUSE)
        case Kind.SET_BID:
            ctr = decision.inputs.get("ctr")
            cpm = int(after["bid_micros"])
            cpc = round(cpm / PER_MILLE / ctr) if isinstance(ctr, float) and ctr > 0 else None
            return replace(change, bid_micros=cpm, cpc_micros=cpc)
        case Kind.SET_BUDGET:
            daily, total = after.get("daily_budget_micros"), after.get("total_budget_micros")
            return replace(change, daily_budget_micros=daily, total_budget_micros=total)
        case Kind.SET_BID_MODIFIERS:
            return replace(change, modifiers=after["modifiers"])
    return Unsupported(f"{decision.kind} is not for ad platforms")


def field_of(kind: str) -> str:
    """The field a decision changes: of two decisions on one field only the newer counts.

    >>> field_of("pause") == field_of("resume"), field_of("set_bid")
    (True, 'set_bid')
    """
    return "state" if kind in (Kind.PAUSE, Kind.RESUME) else kind


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
