"""`/healthz`, `/readyz`, `/metrics`: for supervisors, load balancers and Prometheus; none needs a key."""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from api.background import Following
from api.wiring import Wiring
from schemas import topics
from schemas.log import LogUnavailableError

# A part that takes longer to say that it is there is not ready.
ANSWER_WITHIN_S: Final = 2.0

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The process answers."""

    status: str
    version: str


class Ready(BaseModel):
    """By part: `ok`, or what is wrong with it."""

    ready: bool
    parts: dict[str, str]


@router.get("/healthz")
async def healthz(request: Request) -> Alive:
    """Is the process alive? Restart it when this does not answer."""
    return Alive(status="ok", version=request.app.state.wiring.version)


@router.get("/readyz", responses={503: {"model": Ready, "description": "Some part is not ready; see parts."}})
async def readyz(request: Request, response: Response) -> Ready:
    """Can it take events and changes? Says what is wrong when not."""
    wiring: Wiring = request.app.state.wiring
    following: Following = request.app.state.following
    log, control = await asyncio.gather(_log(wiring), _control(wiring))
    state = "ok" if following.ready else "still reads control and decisions from the log"
    parts = {"log": log, "control": control, "serving": state}
    ready = all(said == "ok" for said in parts.values())
    response.status_code = 200 if ready else 503
    response.headers["Cache-Control"] = "no-store"
    return Ready(ready=ready, parts=parts)


@router.get("/metrics", response_class=Response)
async def metrics() -> Response:
    """Prometheus metrics."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _log(wiring: Wiring) -> str:
    error = wiring.log_health.error()
    if error is not None:
        return error
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await asyncio.to_thread(wiring.log.end, topics.EVENTS, 0)
    except LogUnavailableError as unavailable:
        return str(unavailable)
    except TimeoutError:
        return f"the log did not answer within {ANSWER_WITHIN_S:g} s"
    return "ok"


async def _control(wiring: Wiring) -> str:
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await asyncio.to_thread(wiring.store.ping)
    except SQLAlchemyError as error:
        # Only its kind: the message may hold the address with its password.
        return f"the control database failed: {type(error).__name__}"
    except TimeoutError:
        return f"the control database did not answer within {ANSWER_WITHIN_S:g} s"
    return "ok"
