"""The app: routes over a wiring, and what runs while it does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from fastapi import FastAPI

from api import (
    campaigns,
    collector,
    corrections,
    dead_letters,
    decisions,
    formats,
    health,
    kpis,
    openapi,
    problems,
    processes,
    receipts,
    serving_routes,
    trackers,
    words,
)
from api.asked import Asked
from api.background import Following, running
from api.body import ROOM_BYTES_MAX, BodyWork, HoldsBodies
from api.body.work import THREADS, THREADS_OF_ONE
from api.clickhouse_watch import watching
from api.dashboard import dashboard_routes
from api.decision_history import DecisionHistory
from api.fallback import fallback_route
from api.live.hub import LiveHub
from api.live.routes import live_routes
from api.openrtb.bidder import Bidder
from api.openrtb.flow_watch import FlowWatch
from api.openrtb.routes import openrtb_routes
from api.openrtb.shading import LearnedShading
from api.parts import Parts
from api.perimeter import Guarded, Perimeter
from api.rate_limit import MemoryRateLimit
from api.request_ids import RequestIds
from api.serving import MemoryServing
from api.wiring import OpenRtb, Wiring
from ingest.fair_share import FairShare
from ingest.new_names import NewNames
from schemas.live import ProcessStatus, spendable_of

# A report that is this old was read from the past of the log, or its machine's clock is off: then it says so.
LATE_S: Final = 60.0

_PARTS: Final = (
    collector,
    trackers,
    formats,
    campaigns,
    serving_routes,
    decisions,
    words,
    receipts,
    dead_letters,
    kpis,
    corrections,
    health,
    processes,
)


def create_app(wiring: Wiring) -> FastAPI:
    """The api over its parts. The caller closes the parts after the app has ended."""
    work = BodyWork(threads_of_one=THREADS_OF_ONE if len(wiring.keys.organisations) > 1 else THREADS)
    parts = Parts(wiring.reports)
    hub = LiveHub(wiring.log, version=wiring.version, heard=partial(_heard, wiring, parts), progress=wiring.progress)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        serving = MemoryServing(partial(_spendable_micros, hub), wiring.now_ms)
        app.state.following = following = Following(serving, DecisionHistory(), hub.define)
        app.state.asked = asked = Asked()
        if wiring.openrtb is not None:
            app.state.bidder = _bidder(wiring, wiring.openrtb, following, FlowWatch(hub.board, time.monotonic).is_away)
        stop = asyncio.Event()
        async with running(wiring, following, stop) as outbox, hub.following(), watching(wiring, parts, stop):
            app.state.outbox = outbox
            wiring.progress.ready()
            yield
            # Now, so that both end side by side.
            stop.set()
            outbox.wake()
        work.close()
        asked.close()

    app = FastAPI(
        title="Penstock",
        version=wiring.version or "0",
        description="Events in, decisions out.",
        lifespan=lifespan,
        separate_input_output_schemas=False,
        # The pages that show the document run a script from elsewhere, which could then change budgets.
        docs_url=None,
        redoc_url=None,
    )
    app.state.wiring = wiring
    app.state.body_work = work
    app.state.corrections_rate = MemoryRateLimit(corrections.RATE, time.monotonic)
    app.state.new_names = NewNames(lambda org_id, name: app.state.following.roster.is_defined(org_id, name))
    app.add_middleware(HoldsBodies, room=FairShare(ROOM_BYTES_MAX))
    app.state.parts = parts
    app.add_middleware(Guarded, perimeter=Perimeter(wiring.keys, wiring.cors, wiring.metrics_key))
    # Added last, so that it is around everything else.
    app.add_middleware(RequestIds)
    problems.install(app)
    openapi.install(app)
    for part in _PARTS:
        app.include_router(part.router)
    app.router.routes.extend(live_routes(hub, wiring.keys))
    if wiring.openrtb is not None:
        app.router.routes.extend(openrtb_routes(wiring, lambda: app.state.bidder, wiring.keys))
    app.router.routes.extend(dashboard_routes())
    app.router.routes.append(fallback_route(app.router.routes))
    return app


def _heard(wiring: Wiring, parts: Parts, status: ProcessStatus) -> None:
    """A report read late, at the start, is as old as its time says; a clock that is off makes nobody old while live."""
    ahead_s = (status.now_ms - wiring.now_ms()) / 1_000
    parts.take(status, -ahead_s if -ahead_s > LATE_S else 0.0, ahead_s)


def _bidder(wiring: Wiring, setup: OpenRtb, following: Following, flow_is_away: Callable[[], bool]) -> Bidder:
    shading = LearnedShading()
    return Bidder(
        shade=shading.shade,
        learn=shading.learn,
        roster=following.roster,
        serving=following.serving,
        now_ms=wiring.now_ms,
        draw=setup.draw,
        secret=setup.secret,
        base_url=setup.base_url,
        rates=setup.rates,
        is_ready=lambda: following.ready,
        flow_is_away=flow_is_away,
    )


def _spendable_micros(hub: LiveHub, org_id: str, campaign_id: str) -> int | None:
    """From the campaign's last live row, which only the dataflow makes; None before there is one."""
    entry = hub.board.organisation(org_id).campaigns.get(campaign_id)
    return spendable_of(entry.row) if entry is not None else None
