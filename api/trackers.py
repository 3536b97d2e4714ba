"""Trackers in pages and mails: the pixel for impressions, the redirect for clicks. A visitor never sees an error."""

from __future__ import annotations

import base64
import secrets
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response
from starlette.responses import RedirectResponse

from api import metrics
from api.auth import Sender
from api.collector import must_be_within_rate, request_id, write
from api.problems import Problem
from api.sending import rules_of
from api.wiring import Wiring
from ingest.admission import Admitted, admit
from schemas import topics
from schemas.dead_letters import Reject
from schemas.events import TEXT_BYTES_MAX

# One transparent pixel, 43 bytes.
PIXEL: Final = base64.b64decode("R0lGODlhAQABAIAAAP///wAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
UNCACHED: Final = {"Cache-Control": "no-store, no-cache, must-revalidate", "Pragma": "no-cache", "Expires": "0"}
REASON_HEADER: Final = "X-Penstock-Reason"
# Query parameters that are not fields of the event.
_NOT_FIELDS: Final = frozenset({"key", "url"})
_NUMBERS: Final = frozenset({"ts", "cost_micros", "revenue_micros"})

router = APIRouter(prefix="/api/v1", tags=["trackers"])

_KEY: Final = Query(description="A write-only key: a page cannot send headers with an image.")
_PIXEL_ANSWER: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The pixel, always.", "content": {"image/gif": {}}}
}


@router.get("/pixel.gif", response_class=Response, responses=_PIXEL_ANSWER)
async def pixel(request: Request, key: Annotated[str | None, _KEY] = None) -> Response:
    """Record an event (type impression unless named) from the query parameters, which are its fields.

    Always the pixel; header X-Penstock-Reason says why an event was not recorded, or that it was recorded without
    its cost.
    """
    reason = await _record(request, "impression", key)
    return Response(PIXEL, media_type="image/gif", headers=_headers(reason))


@router.get(
    "/click",
    response_class=Response,
    status_code=302,
    responses={302: {"description": "To the landing page."}, 400: {"description": "Not an allowed landing page."}},
)
async def click(
    request: Request,
    url: Annotated[str, Query(description="Landing page: http or https at an allowed host.")] = "",
    key: Annotated[str | None, _KEY] = None,
) -> Response:
    """Record an event (type click unless named) and redirect to the landing page, recorded or not."""
    wiring: Wiring = request.app.state.wiring
    if not wiring.landing_hosts.allow(url):
        metrics.TRACKERS_REFUSED.labels("landing_host").inc()
        detail = "url must be http or https at a host of PENSTOCK_LANDING_HOSTS."
        raise Problem(400, "landing_host", "Not an allowed landing page", detail)
    reason = await _record(request, "click", key)
    return RedirectResponse(url, status_code=302, headers=_headers(reason))


async def _record(request: Request, kind: str, key: str | None) -> str | None:
    """Record the request's event; the reason when that could not be done."""
    wiring: Wiring = request.app.state.wiring
    reason: str | None
    try:
        sender = wiring.keys.sender(request, key)
        event = _event(request, kind, wiring.now_ms())
        without = None if sender.money else _without_money(event)
        admitted = _admit(request, wiring, sender, event)
        await must_be_within_rate(wiring, sender.org_id, admitted)
        await write(wiring, admitted)
    except Problem as problem:
        reason = problem.code
    else:
        reason = admitted.refused[0].letter.reason if admitted.refused else without
    if reason is not None:
        metrics.TRACKERS_REFUSED.labels(reason).inc()
    return reason


def _without_money(event: dict[str, Any]) -> str | None:
    """Take cost and revenue out of an event; the reason when there was any. The visit itself still counts."""
    taken = [event.pop(name, None) for name in ("cost_micros", "revenue_micros")]
    return Reject.COST_NOT_ALLOWED.value if any(taken) else None


def _admit(request: Request, wiring: Wiring, sender: Sender, event: dict[str, Any]) -> Admitted:
    return admit(
        msgspec.json.encode(event),
        org_id=sender.org_id,
        now_ms=wiring.now_ms(),
        partitions=wiring.log.partitions(topics.EVENTS),
        source=f"http/{request_id(request)}",
        rules=rules_of(request, sender),
    )


def _event(request: Request, kind: str, now_ms: int) -> dict[str, Any]:
    """The event in the query parameters, with what the request itself tells."""
    event: dict[str, Any] = {
        "event_id": secrets.token_hex(16),
        "type": kind,
        "ts": now_ms,
        "ip": request.client.host if request.client is not None else None,
        "user_agent": _cut(request.headers.get("user-agent")),
        "referrer": _cut(request.headers.get("referer")),
    }
    for name, value in request.query_params.items():
        if name not in _NOT_FIELDS and value:
            event[name] = _number(value) if name in _NUMBERS else value
    return event


def _number(value: str) -> int | str:
    # More digits than any number of an event has stay text, which is refused.
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else value


def _cut(header: str | None) -> str | None:
    """A header as it may stand in an event: a visitor's odd browser is no reason to lose the event."""
    return header.encode()[:TEXT_BYTES_MAX].decode(errors="ignore") if header else None


def _headers(reason: str | None) -> dict[str, str]:
    return UNCACHED if reason is None else UNCACHED | {REASON_HEADER: reason}
