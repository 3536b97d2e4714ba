"""`GET /api/v1/processes`: how every process is doing, for the dashboard's system page."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from pydantic import BaseModel

from api.auth import CallerDep
from api.parts import Instance, Parts
from schemas.health import State


class LoopRow(BaseModel):
    """One working loop: what it did since the start, what waits, for how many seconds it has not moved."""

    name: str
    done: int
    waiting: int
    quiet_s: float
    waits_for: str


class ProcessRow(BaseModel):
    """One process: `progress` counts units of work since its start, `waiting` those that wait; `reason` is in words."""

    process: str
    host: str
    pid: int
    started_ms: int
    reported_s_ago: float
    state: State
    reason: str
    progress: int
    waiting: int
    loops: list[LoopRow]


class Processes(BaseModel):
    """All processes that have reported, by name."""

    processes: list[ProcessRow]


router = APIRouter(prefix="/api/v1", tags=["health"])


@router.get("/processes")
async def processes(request: Request, _: CallerDep) -> Processes:
    """Every process with its state, its progress, and the reason when it is not well."""
    parts: Parts = request.app.state.parts
    return Processes(processes=[_row(instance) for instance in await asyncio.to_thread(parts.instances)])


def _row(instance: Instance) -> ProcessRow:
    status = instance.status
    return ProcessRow(
        process=status.process,
        host=status.host,
        pid=status.pid,
        started_ms=status.started_ms,
        reported_s_ago=round(instance.age_s, 1),
        state=instance.verdict.state,
        reason=instance.verdict.reason,
        progress=status.progress,
        waiting=status.waiting,
        loops=[
            LoopRow(name=loop.name, done=loop.done, waiting=loop.waiting, quiet_s=loop.quiet_s, waits_for=loop.blocked)
            for loop in status.loops
        ],
    )
