"""`POST /api/v1/events`: takes events and answers when they are durable."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter as Tally
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.datastructures import Headers

from api import metrics, request_ids
from api.auth import Sender, SenderDep
from api.body import BODY_BYTES_MAX, EVENTS, BodyWork, decompress, read_body, to_lines
from api.event_bodies import CONTENT, converted_body, needs_thread
from api.problems import Problem, log_unavailable
from api.sending import rules_of
from api.wiring import Wiring
from ingest.admission import Admitted, Rules, admit, encode_letter
from ingest.formats.admission import admit_converted
from ingest.formats.converted import Converted
from ingest.group_commit import Backlogged
from schemas import topics
from schemas.log import LogUnavailableError
from schemas.tracing import span

# Refused lines listed in an answer; the counts are always complete, and the dead letters have them all.
ERRORS_MAX: Final = 1_000
# Above this, decompressing and decoding would hold up other requests: it goes to a thread.
INLINE_BYTES_MAX: Final = 64 * 1024


class LineError(msgspec.Struct):
    """One refused line, by number from 1; in an array its place."""

    line: int
    field: str
    reason: str
    detail: str


class Collected(msgspec.Struct, omit_defaults=True):
    """What became of a request's lines; blank lines are not counted.

    `letters_dropped` is there when some of the refused are not among the dead letters, of which there are too many;
    `ignored` when the mapping of columns names no event for some rows.
    """

    accepted: int
    rejected: int
    errors: list[LineError]
    errors_truncated: bool
    letters_dropped: int = 0
    ignored: int = 0


router = APIRouter(prefix="/api/v1", tags=["collector"])

_BODY: Final[dict[str, Any]] = {
    "required": True,
    "description": (
        "One event, an array, one event a line, CloudEvents, CSV or Parquet; "
        f"gzip or zstd, {BODY_BYTES_MAX} bytes at most."
    ),
    "content": {
        "application/json": {"schema": {"anyOf": [{"$ref": "#/components/schemas/Event"}, {"type": "array",
                             "items": {"$ref": "#/components/schemas/Event"}}]}},
        "application/x-ndjson": {"schema": {"type": "string"}},
        "text/plain": {"schema": {"type": "string"}},
        **CONTENT,
    },
}  # fmt: skip
_COLLECTED: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/Collected"}}}
_PROBLEM: Final = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    202: {"description": "Some events were accepted and are durable.", "content": _COLLECTED},
    400: {"description": "No event was accepted, or the body cannot be read.", "content": _COLLECTED | _PROBLEM},
    401: {"description": "No valid API key.", "content": _PROBLEM},
    403: {"description": "Not with this key from this page.", "content": _PROBLEM},
    408: {"description": "The body came too slowly.", "content": _PROBLEM},
    413: {"description": "Too many bytes or lines.", "content": _PROBLEM},
    415: {"description": "Unsupported content type or encoding.", "content": _PROBLEM},
    429: {"description": "The log is behind, or the sender above its rate; see Retry-After.", "content": _PROBLEM},
    503: {"description": "The log is unavailable, or too many requests are under way.", "content": _PROBLEM},
}


@router.post("/events", status_code=202, responses=_ANSWERS, openapi_extra={"requestBody": _BODY})
async def post_events(request: Request, sender: SenderDep) -> Response:
    """Take events: 202 when any was accepted, 400 when none. Sending a request again is harmless: event ids tell."""
    wiring: Wiring = request.app.state.wiring
    try:
        await must_be_within_rate(wiring, sender.org_id)
        body = await read_body(request, sender.org_id, EVENTS)
        began = time.perf_counter()
        admitted = await _admitted(request, sender, body)
        await must_be_within_rate(wiring, sender.org_id, admitted)
        await write(wiring, admitted)
    except Problem as problem:
        metrics.REQUESTS_REFUSED.labels(problem.code).inc()
        raise
    metrics.COLLECT_SECONDS.observe(time.perf_counter() - began)
    return _answer(admitted)


async def _admitted(request: Request, sender: Sender, body: bytes) -> Admitted:
    """The body's events; a large or compressed body is taken apart in a thread, for as long as the sender waits."""
    headers = request.headers
    work = partial(
        _admit, request.app.state.wiring, sender.org_id, rules_of(request, sender), body, headers, request_id(request)
    )
    if len(body) <= INLINE_BYTES_MAX and "content-encoding" not in headers and not needs_thread(headers):
        return work(lambda: None)
    threads: BodyWork = request.app.state.body_work
    return await threads.run(request, sender.org_id, work)


def request_id(request: Request) -> str:
    """The sender's X-Request-Id, so that a request sent again has the same dead letters; else one made up."""
    return request_ids.request_id() or request_ids.id_of(request.headers.get("x-request-id", ""))


async def must_be_within_rate(wiring: Wiring, org_id: str, admitted: Admitted | None = None) -> None:
    """Raises Problem 429 when the organisation sends more than it may, 413 for a request that never fits.

    Without what was admitted it only asks, so that a flood costs no more than its heads.
    """
    events = admitted.accepted + len(admitted.refused) + admitted.ignored if admitted is not None else 0
    most = wiring.rate_limit.request_max
    if most is not None and events > most:
        detail = f"At the rate of {org_id} a request takes {most} events; send several."
        raise Problem(413, "above_rate", "Too many events", detail)
    wait_s = await wiring.rate_limit.take(org_id, events)
    if wait_s > 0:
        metrics.ORGANISATION_REFUSED.labels(org_id, "rate").inc()
        detail = f"{org_id} sends more events than it may; send again in {wait_s:.1f} s."
        raise Problem(429, "rate_limited", "Too many events", detail, retry_after_s=math.ceil(wait_s))


async def write(wiring: Wiring, admitted: Admitted) -> None:
    """Return when events and dead letters are durable; raises Problem 429 or 503, then the sender sends all again."""
    appends: list[Awaitable[int]] = [
        wiring.sink.append(topics.EVENTS, partition, records, owner=admitted.org_id)
        for partition, records in admitted.records.items()
    ]
    if letters := _letters(wiring, admitted):
        appends.append(wiring.sink.append(topics.DEAD_LETTERS, 0, letters, owner=admitted.org_id))
    with span("write to the log", events=admitted.accepted, org_id=admitted.org_id):
        outcomes = await asyncio.gather(*appends, return_exceptions=True)
    for outcome in outcomes:
        match outcome:
            case Backlogged():
                wait_s = math.ceil(outcome.retry_after_s)
                raise Problem(429, "log_behind", "The log is behind", str(outcome), retry_after_s=wait_s)
            case LogUnavailableError():
                wiring.log_health.failed(str(outcome))
                raise log_unavailable(outcome)
            case BaseException():
                raise outcome
    wiring.log_health.worked()
    _count(admitted)


def _letters(wiring: Wiring, admitted: Admitted) -> list[bytes]:
    """The dead letters that the organisation has room for."""
    letters = [encode_letter(refused.letter) for refused in admitted.refused]
    if letters:
        kept = wiring.letters.kept(admitted.org_id, letters)
        admitted.letters_dropped = len(letters) - kept
        metrics.LETTERS_DROPPED.labels(admitted.org_id).inc(admitted.letters_dropped)
        del letters[kept:]
    return letters


def count_ignored(name: str, converted: Converted) -> None:
    """Count what the mapping of a format does not name."""
    for reason, count in converted.ignored.items():
        metrics.ITEMS_IGNORED.labels(name, reason).inc(count)


def _count(admitted: Admitted) -> None:
    metrics.EVENTS_ACCEPTED.inc(admitted.accepted)
    if admitted.refused:
        for reason, count in Tally(refused.letter.reason for refused in admitted.refused).items():
            metrics.EVENTS_REJECTED.labels(reason).inc(count)


def _admit(
    wiring: Wiring,
    org_id: str,
    rules: Rules,
    body: bytes,
    headers: Headers,
    name: str,
    still_wanted: Callable[[], None],
) -> Admitted:
    plain = decompress(body, headers.get("content-encoding", ""), BODY_BYTES_MAX, still_wanted)
    now_ms, partitions, source = wiring.now_ms(), wiring.log.partitions(topics.EVENTS), f"http/{name}"
    converted = converted_body(headers, plain, wiring.event_mapping, now_ms, still_wanted)
    if converted is not None:
        count_ignored("csv", converted)
        admitted = admit_converted(
            converted, org_id=org_id, now_ms=now_ms, partitions=partitions, source=source, rules=rules
        )
    else:
        lines = to_lines(plain, headers.get("content-type", ""))
        still_wanted()
        admitted = admit(lines, org_id=org_id, now_ms=now_ms, partitions=partitions, source=source, rules=rules)
    if not (admitted.records or admitted.refused or admitted.ignored):
        raise Problem(400, "empty", "No events", "The body holds no events.")
    return admitted


def _answer(admitted: Admitted) -> Response:
    listed = [
        LineError(refused.line, refused.letter.field, refused.letter.reason, refused.letter.detail)
        for refused in admitted.refused[:ERRORS_MAX]
    ]
    accepted, rejected = admitted.accepted, len(admitted.refused)
    ignored = admitted.ignored
    collected = Collected(accepted, rejected, listed, rejected > len(listed), admitted.letters_dropped, ignored)
    status = 202 if accepted or (ignored and not rejected) else 400
    return Response(msgspec.json.encode(collected), status_code=status, media_type="application/json")
