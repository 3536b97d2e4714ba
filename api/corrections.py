"""Corrections over REST: what was corrected, by whom and why; and new ones, each of which gets an answer."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from api.asked import Asked
from api.auth import CallerDep
from api.body import CORRECTIONS, json_body
from api.correction_history import CorrectionHistory
from api.problems import Problem
from api.rate_limit import MemoryRateLimit
from api.wiring import Wiring
from control.corrections.given import Given
from control.corrections.judge import Answer, Judge, Outcome
from control.corrections.send import send
from control.errors import UnknownCampaignError
from schemas.campaigns import Campaign
from schemas.corrections import COUNTERS, Cause, Grain
from schemas.events import TS_MS_MAX

_log = logging.getLogger(__name__)

PAGE_MAX: Final = 1_000
# Corrections in one request; a file with more is for `penstock corrections import`.
REQUEST_MAX: Final = 1_000
# Corrections a second of an organisation: a thousand at once is ten seconds' worth.
RATE: Final = 100.0
_ID_MAX: Final = 64


class CorrectionOut(BaseModel):
    """A correction as it was applied. `late`: closed windows were counted again; `refused`: without effect, as a total
    would have gone below zero."""

    correction_id: str
    campaign_id: str
    ts_ms: int
    cause: Cause
    grain: Grain
    creative_id: str
    channel: str
    country: str
    device: str
    event_id: str
    impressions: int
    clicks: int
    conversions: int
    leads: int
    spend_micros: int
    revenue_micros: int
    by: str
    noted_ms: int
    note: str
    applied_ms: int
    late: bool
    refused: bool


class CorrectionPage(BaseModel):
    """Corrections, those applied last first; `next_before` is there when more follow."""

    corrections: list[CorrectionOut]
    next_before: str | None


class Sums(BaseModel):
    """Counters, spend and revenue; signed where they are changes."""

    impressions: int
    clicks: int
    conversions: int
    leads: int
    spend_micros: int
    revenue_micros: int


class Corrected(BaseModel):
    """A campaign's days as they were reported, by how much they were corrected, and as they are now.

    The days are whole and span [from_ms, to_ms); `corrections` is how many had an effect.
    """

    campaign_id: str
    from_ms: int
    to_ms: int
    reported: Sums
    difference: Sums
    corrected: Sums
    corrections: int


class CorrectionsIn(BaseModel):
    """Corrections to apply, at most 1,000."""

    model_config = ConfigDict(extra="forbid")

    corrections: Annotated[list[Given], Field(min_length=1, max_length=REQUEST_MAX)]


class AnswerOut(BaseModel):
    """What became of one of them; `line` counts from 1."""

    line: int
    reference: str
    correction_id: str
    outcome: Outcome
    detail: str


class AnswersOut(BaseModel):
    """An answer for each, and how many have which."""

    sent: int
    known: int
    nothing: int
    refused: int
    answers: list[AnswerOut]


router = APIRouter(prefix="/api/v1/corrections", tags=["corrections"])
_TAKES: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/CorrectionsIn"}}},
    }
}
_Campaign = Annotated[str, Query(max_length=128, description="Of one campaign.")]
_Given = Annotated[CorrectionsIn, Depends(json_body(CorrectionsIn, CORRECTIONS))]


def _history(request: Request) -> CorrectionHistory:
    history: CorrectionHistory | None = request.app.state.wiring.corrections
    if history is None:
        raise Problem(503, "no_clickhouse", "No history", "This api has no ClickHouse; set PENSTOCK_CLICKHOUSE.")
    return history


@router.get("")
async def list_corrections(
    request: Request,
    caller: CallerDep,
    campaign_id: _Campaign = "",
    cause: Cause | None = None,
    before: Annotated[str | None, Query(description="next_before of the page before.", max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
) -> CorrectionPage:
    """Corrections that were applied or refused, those applied last first."""
    history, asked = _history(request), _asked(request)
    wanted = caller.org_id, campaign_id, cause or "", _place(before), limit + 1
    rows = await asked.ask(history.corrections, *wanted)
    page = [CorrectionOut.model_validate(row) for row in rows[:limit]]
    more = len(rows) > limit
    return CorrectionPage(
        corrections=page, next_before=f"{page[-1].applied_ms}:{page[-1].correction_id}" if more else None
    )


@router.get("/totals")
async def corrected(
    request: Request,
    caller: CallerDep,
    campaign_id: Annotated[str, Query(min_length=1, max_length=128)],
    from_ms: Annotated[int, Query(ge=0, le=TS_MS_MAX, description="Days that end after it.")] = 0,
    to_ms: Annotated[int, Query(ge=1, le=TS_MS_MAX, description="Days that begin before it.")] = TS_MS_MAX,
) -> Corrected:
    """What was reported for a campaign, what was corrected, and what stands there now."""
    if from_ms >= to_ms:
        raise Problem(422, "empty_span", "Nothing to ask for", "from_ms must be before to_ms.")
    history, asked = _history(request), _asked(request)
    now, changed = await asked.ask(history.corrected, caller.org_id, campaign_id, from_ms, to_ms)
    return Corrected(
        campaign_id=campaign_id,
        from_ms=now["from_ms"] if now["days"] else from_ms,
        to_ms=now["to_ms"] if now["days"] else to_ms,
        reported=Sums(**{name: now[name] - changed[name] for name in COUNTERS}),
        difference=Sums(**{name: changed[name] for name in COUNTERS}),
        corrected=Sums(**{name: now[name] for name in COUNTERS}),
        corrections=changed["corrections"],
    )


@router.post("", openapi_extra=_TAKES)
async def correct(
    request: Request,
    caller: CallerDep,
    given: _Given,
    dry_run: Annotated[bool, Query(description="Answer, and send nothing.")] = False,
) -> AnswersOut:
    """Correct what was counted. Each gets an answer; one sent again by the same reference changes nothing.

    `sent`: durable in the log, applied by the dataflow within seconds. `known`: applied before. `nothing`: the day has
    what was invoiced. `refused`: `detail` says why.
    """
    wiring: Wiring = request.app.state.wiring
    await _must_be_within_rate(request, caller.org_id, len(given.corrections))
    judge = Judge(
        caller.org_id,
        by=caller.name,
        now_ms=wiring.now_ms(),
        definition=lambda campaign_id: _definition(wiring, caller.org_id, campaign_id),
        books=wiring.corrections,
    )
    lines = list(enumerate(given.corrections, start=1))
    answers = await _asked(request).ask(judge.answers, lines)
    fitting = [answer.correction for answer in answers if answer.correction is not None]
    if fitting and not dry_run:
        await asyncio.to_thread(send, wiring.log, fitting)
        _log.info("%d corrections by %s", len(fitting), caller.name, extra={"org_id": caller.org_id})
    return _told(answers)


def _told(answers: Sequence[Answer]) -> AnswersOut:
    counts = {outcome.value: sum(answer.outcome is outcome for answer in answers) for outcome in Outcome}
    told = []
    for answer in answers:
        fields = asdict(answer)
        del fields["correction"]
        told.append(AnswerOut(**fields))
    return AnswersOut(**counts, answers=told)


def _definition(wiring: Wiring, org_id: str, campaign_id: str) -> Campaign | None:
    try:
        return wiring.store.campaign(org_id, campaign_id).definition
    except UnknownCampaignError:
        return None


def _asked(request: Request) -> Asked:
    asked: Asked = request.app.state.asked
    return asked


async def _must_be_within_rate(request: Request, org_id: str, count: int) -> None:
    limit: MemoryRateLimit = request.app.state.corrections_rate
    wait_s = await limit.take(org_id, count)
    if wait_s > 0:
        detail = f"{org_id} has sent more than {RATE:g} corrections a second; the file import has no such bound."
        raise Problem(429, "rate_limited", "Too many corrections", detail, retry_after_s=math.ceil(wait_s))


def _place(before: str | None) -> tuple[int, str]:
    if before is None:
        return TS_MS_MAX + 1, ""
    number, _, correction_id = before.partition(":")
    if not (number.isascii() and number.isdigit() and len(number) < 16 and len(correction_id) <= _ID_MAX):
        raise Problem(422, "bad_before", "Not a place", "before is what next_before said.")
    return int(number), correction_id
