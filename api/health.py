"""`/healthz`, `/readyz`, `/metrics`: for supervisors, load balancers and Prometheus; only metrics ask for a key."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from api.background import Following
from api.parts import Parts, ready_parts
from api.problems import Problem
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


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def healthz(request: Request) -> Alive:
    """Is the process alive? Restart it when this does not answer."""
    return Alive(status="ok", version=request.app.state.wiring.version)


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses={503: {"model": Ready, "description": "Some part is not ready; see parts."}})
async def readyz(
    request: Request,
    response: Response,
    parts: Annotated[str | None, Query(description="Parts that count, such as log,control,serving.")] = None,
) -> Ready:
    """Do all parts work that are expected here? Says of each `ok` or what is wrong; 503 when one that counts is not."""
    wiring: Wiring = request.app.state.wiring
    following: Following = request.app.state.following
    try:
        counted = wiring.ready_parts if parts is None else ready_parts(parts)
    except ValueError as error:
        raise Problem(422, "unknown_part", "No such part", str(error)) from None
    others: Parts = request.app.state.parts
    log, control, processes = await asyncio.gather(
        _log(wiring), _control(wiring), asyncio.to_thread(others.said, counted)
    )
    state = "ok" if following.ready else "still reads control and decisions from the log"
    said = {"log": log, "control": control, "serving": state, **processes}
    ready = all(said[part] == "ok" for part in counted)
    response.status_code = 200 if ready else 503
    response.headers["Cache-Control"] = "no-store"
    return Ready(ready=ready, parts=said)


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Prometheus metrics of this process, and the state of every process that has reported."""
    await asyncio.to_thread(request.app.state.parts.measure)
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
