"""Decisions over REST: what was decided and why, and a person's word on it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel

from api.asked import Asked
from api.auth import Caller, CallerDep
from api.background import Following
from api.decision_history import DecisionArchive, Wanted
from api.problems import Problem
from api.wiring import Wiring
from bidding.explain import explain
from control.store import Word
from schemas.decisions import SEQUENCE_BITS, Decision, Kind, Mode
from schemas.events import TS_MS_MAX

PAGE_MAX: Final = 1_000
# A sequence has 16 digits, of the year 2100 as well.
_DIGITS_MAX: Final = 17

_DECISION: Final = {"$ref": "#/components/schemas/Decision"}
_TOLD: Final = {
    "allOf": [
        _DECISION,
        {"type": "object", "required": ["explanation"], "properties": {"explanation": {"type": "string"}}},
    ]
}
_ONE: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"application/json": {"schema": _TOLD}}}}
_PAGE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["decisions", "next_before"],
                    "properties": {
                        "decisions": {"type": "array", "items": _DECISION},
                        "next_before": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                    },
                }
            }
        }
    }
}


class Said(BaseModel):
    """A person's word as it was recorded; the dataflow acts on it within a second."""

    decision_id: str
    word: Word
    version: int


_log = logging.getLogger(__name__)

router = APIRouter(prefix="/api/v1/decisions", tags=["decisions"])
_DecisionId = Annotated[str, Path(pattern=r"^[0-9a-zA-Z_-]{1,64}$")]


@router.get("", responses=_PAGE, response_class=Response)
async def list_decisions(
    request: Request,
    caller: CallerDep,
    campaign_id: Annotated[str | None, Query(max_length=128)] = None,
    kind: Kind | None = None,
    before: Annotated[str | None, Query(description="Taken before this time in ms, or next_before.")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
) -> Response:
    """Decisions, the last one taken first."""
    wanted = Wanted(caller.org_id, campaign_id, kind, _place(before), limit)
    found = await _find(request, wanted)
    last = found[-1] if len(found) == limit else None
    page = {
        "decisions": [msgspec.structs.asdict(decision) for decision in found],
        "next_before": ":".join(map(str, last.place)) if last is not None else None,
    }
    return Response(msgspec.json.encode(page), media_type="application/json")


@router.get("/{decision_id}", responses=_ONE, response_class=Response)
async def get_decision(request: Request, caller: CallerDep, decision_id: _DecisionId) -> Response:
    """One decision with its inputs, expected effect, undo, and all of it in words."""
    decision = await _get(request, caller, decision_id)
    told = msgspec.structs.asdict(decision) | {"explanation": explain(decision)}
    return Response(msgspec.json.encode(told), media_type="application/json")


@router.post("/{decision_id}/approve")
async def approve(request: Request, caller: CallerDep, decision_id: _DecisionId) -> Said:
    """Let a recommendation take effect."""
    return await _say(request, caller, decision_id, Word.APPROVE)


@router.post("/{decision_id}/reject")
async def reject(request: Request, caller: CallerDep, decision_id: _DecisionId) -> Said:
    """Turn a recommendation down."""
    return await _say(request, caller, decision_id, Word.REJECT)


@router.post("/{decision_id}/undo")
async def undo(request: Request, caller: CallerDep, decision_id: _DecisionId) -> Said:
    """Put back what a decision changed."""
    return await _say(request, caller, decision_id, Word.UNDO)


async def _say(request: Request, caller: Caller, decision_id: str, word: Word) -> Said:
    wiring: Wiring = request.app.state.wiring
    decision = await _get(request, caller, decision_id)
    _must_fit(decision, word)

    def say() -> int:
        return wiring.store.say(
            caller.org_id,
            decision.campaign_id,
            decision_id,
            word,
            changed_by=caller.name,
            now_ms=wiring.now_ms(),
        )

    version = await asyncio.to_thread(say)
    about = {"decision_id": decision_id, "org_id": caller.org_id, "campaign_id": decision.campaign_id}
    _log.info("%s by %s", word, caller.name, extra=about)
    request.app.state.outbox.wake()
    return Said(decision_id=decision_id, word=word, version=version)


def _must_fit(decision: Decision, word: Word) -> None:
    if word is Word.UNDO:
        if decision.undo is None:
            raise Problem(409, "nothing_to_undo", "Nothing to undo", f"A decision to {decision.kind} has no undo.")
    elif decision.mode != Mode.RECOMMEND:
        detail = f"Only recommendations take this word; this decision was made in mode {decision.mode}."
        raise Problem(409, "not_a_recommendation", "Not a recommendation", detail)


async def _find(request: Request, wanted: Wanted) -> list[Decision]:
    """From memory; from the archive as well when memory has dropped some and gives less than was asked for."""
    following: Following = request.app.state.following
    archive: DecisionArchive | None = request.app.state.wiring.archive
    found = following.history.find(wanted)
    if len(found) == wanted.limit or archive is None or not following.history.overflowed:
        return found
    place = found[-1].place if found else wanted.before
    rest = replace(wanted, before=place, limit=wanted.limit - len(found))
    asked: Asked = request.app.state.asked
    return found + await asked.ask(archive.find, rest)


async def _get(request: Request, caller: Caller, decision_id: str) -> Decision:
    """The decision; raises Problem 404."""
    following: Following = request.app.state.following
    archive: DecisionArchive | None = request.app.state.wiring.archive
    decision = following.history.get(caller.org_id, decision_id)
    if decision is None and archive is not None and following.history.overflowed:
        asked: Asked = request.app.state.asked
        decision = await asked.ask(archive.get, caller.org_id, decision_id)
    if decision is None:
        raise Problem(404, "unknown_decision", "No such decision", f"There is no decision {decision_id!r}.")
    return decision


def _place(before: str | None) -> tuple[int, str] | None:
    if before is None:
        return None
    number, is_place, decision_id = before.partition(":")
    if not (number.isascii() and number.isdigit() and len(number) < _DIGITS_MAX):
        raise Problem(422, "bad_before", "Not a place", "before is a time in ms or what next_before said.")
    return (int(number), decision_id) if is_place else (min(int(number), TS_MS_MAX) << SEQUENCE_BITS, "")
