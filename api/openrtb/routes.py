"""Addresses of the bidder. Plain Starlette routes: an exchange gives ten milliseconds, not a framework's time."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from api.auth import ApiKeys
from api.body import BID, read_body
from api.collector import write
from api.openrtb import metrics
from api.openrtb.bidder import Bidder
from api.problems import Problem
from api.wiring import Wiring
from ingest.admission import admit
from schemas import topics

_JSON: Final = {"Content-Type": "application/json", "x-openrtb-version": "2.6"}


def openrtb_routes(wiring: Wiring, bidder: Callable[[], Bidder], keys: ApiKeys) -> list[Route]:
    """Routes over a bidder, which is asked for at each request: it is there once the app runs."""

    async def bid(request: Request) -> Response:
        began = time.perf_counter()
        caller = keys.caller(request, request.query_params.get("key"))
        body = await read_body(request, caller.org_id, BID)
        answer = bidder().answer(body, caller.org_id)
        metrics.SECONDS.observe(time.perf_counter() - began)
        return Response(status_code=400) if answer is None else Response(answer, headers=_JSON)

    async def win(request: Request) -> Response:
        known = bidder().win(request.query_params.get("t", ""), request.query_params.get("price"))
        return _noticed("win", known)

    async def loss(request: Request) -> Response:
        return _noticed("loss", bidder().loss(request.query_params.get("t", "")))

    async def billing(request: Request) -> Response:
        sealed = request.query_params.get("t", "")
        booked = bidder().billing(sealed, request.query_params.get("price"))
        if booked is None:
            return _noticed("billing", False)
        await book(*booked)
        bidder().booked(sealed)
        return _noticed("billing", True)

    async def click(request: Request) -> Response:
        known = bidder().click(request.query_params.get("t", ""))
        if known is None:
            return _noticed("click", False)
        org_id, landing, event = known
        if event is not None:
            try:
                await book(org_id, event)
            except Problem:
                # The person goes on all the same.
                metrics.NOTICES_REFUSED.labels("click").inc()
        return RedirectResponse(landing, status_code=302, headers={"Cache-Control": "no-store"})

    async def book(org_id: str, event: dict[str, Any]) -> None:
        admitted = admit(
            msgspec.json.encode(event),
            org_id=org_id,
            now_ms=wiring.now_ms(),
            partitions=wiring.log.partitions(topics.EVENTS),
            source=f"openrtb/{secrets.token_hex(8)}",
        )
        await write(wiring, admitted)

    return [
        Route("/openrtb2/bid", bid, methods=["POST"]),
        Route("/openrtb2/win", win, methods=["GET"]),
        Route("/openrtb2/billing", billing, methods=["GET"]),
        Route("/openrtb2/loss", loss, methods=["GET"]),
        Route("/openrtb2/click", click, methods=["GET"]),
    ]


def _noticed(notice: str, known: bool) -> Response:
    if not known:
        metrics.NOTICES_REFUSED.labels(notice).inc()
        return Response(status_code=403)
    return Response(status_code=204)
