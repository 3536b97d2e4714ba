"""Collectors in the manner of others: Segment and RudderStack, GA4 Measurement Protocol, Snowplow."""

from __future__ import annotations

import binascii
import time
from base64 import b64decode
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final, NamedTuple

from fastapi import APIRouter, Query, Request, Response

from api import metrics
from api.auth import Sender, bearer_of
from api.body import EVENTS, BodyLimit, BodyWork, decompress, read_body
from api.collector import INLINE_BYTES_MAX, count_ignored, must_be_within_rate, request_id, write
from api.event_bodies import refusal
from api.problems import Problem
from api.sending import rules_of
from api.trackers import PIXEL, REASON_HEADER, UNCACHED
from api.wiring import Wiring
from ingest.admission import Admitted
from ingest.formats import ga4, segment, snowplow
from ingest.formats.admission import admit_converted
from ingest.formats.converted import Converted, FormatError
from ingest.formats.mapper import Mapper
from ingest.formats.mapping import FormatMapping
from schemas import topics
from schemas.dead_letters import Reject

# Segment's libraries send 500 KB at most, RudderStack takes 4,000.
SEGMENT: Final = BodyLimit(4 * 2**20, EVENTS.whole_s)
# Google takes 130 KB; Snowplow's trackers cut at some tens of KB.
TRACKED: Final = BodyLimit(512 * 1024, EVENTS.whole_s)
# Whose key is in the body is known once it is read: such bodies share one sender's room, whoever they are.
UNKEYED: Final = BodyLimit(512 * 1024, whole_s=15.0, idle_s=5.0)
NOBODY: Final = ""

router = APIRouter(tags=["formats"])

_KEY: Final = Query(description="A write-only key, where the tracker cannot set headers.")
_SUCCESS: Final = b'{"success":true}'
_Convert = Callable[[bytes, Mapper], Converted]


class _Taken(NamedTuple):
    """What became of a request."""

    converted: Converted
    admitted: Admitted

    @property
    def reason(self) -> str | None:
        """Why something was not recorded as it came; None when nothing is to be said."""
        if self.admitted.refused:
            return self.admitted.refused[0].letter.reason
        return Reject.COST_NOT_ALLOWED.value if self.converted.without_money else None


async def _collect(request: Request, sender: Sender, body: bytes, name: str, convert: _Convert) -> _Taken:
    """Convert, admit and write a body; raises Problem."""
    wiring: Wiring = request.app.state.wiring
    await must_be_within_rate(wiring, sender.org_id)
    began = time.perf_counter()
    encoding = request.headers.get("content-encoding", "")
    work = partial(_convert, request, sender, body, encoding, name, convert)
    if len(body) <= INLINE_BYTES_MAX and not encoding:
        taken = work(lambda: None)
    else:
        threads: BodyWork = request.app.state.body_work
        taken = await threads.run(request, sender.org_id, work)
    count_ignored(name, taken.converted)
    await must_be_within_rate(wiring, sender.org_id, taken.admitted)
    if taken.admitted.records or taken.admitted.refused:
        await write(wiring, taken.admitted)
    metrics.COLLECT_SECONDS.observe(time.perf_counter() - began)
    return taken


def _convert(
    request: Request,
    sender: Sender,
    body: bytes,
    encoding: str,
    name: str,
    convert: _Convert,
    still_wanted: Callable[[], None],
) -> _Taken:
    wiring: Wiring = request.app.state.wiring
    now_ms = wiring.now_ms()
    mapping: FormatMapping = getattr(wiring.event_mapping, name)
    plain = decompress(body, encoding, SEGMENT.bytes_max, still_wanted)
    try:
        converted = convert(plain, Mapper(mapping, now_ms=now_ms, money=sender.money))
    except FormatError as error:
        raise refusal(error) from None
    still_wanted()
    admitted = admit_converted(
        converted,
        org_id=sender.org_id,
        now_ms=now_ms,
        partitions=wiring.log.partitions(topics.EVENTS),
        source=f"{name}/{request_id(request)}",
        rules=rules_of(request, sender),
    )
    return _Taken(converted, admitted)


async def _sent(
    request: Request,
    limit: BodyLimit,
    key_in: Callable[[bytes], str | None],
    *,
    in_query: str | None,
    in_header: str | None = None,
) -> tuple[Sender, bytes]:
    """Who sends, and what; the key first where it is in the head, else it is looked for in a small body."""
    keys = request.app.state.wiring.keys
    in_body = keys.pairs and not (bearer_of(request) or in_header or in_query)
    if not in_body or "content-encoding" in request.headers:
        sender = keys.sender(request, in_query, in_header)
        return sender, await read_body(request, sender.org_id, limit)
    body = await read_body(request, NOBODY, UNKEYED)
    return keys.sender(request, key_in(body)), body


def _headers(reason: str | None) -> dict[str, str]:
    return {} if reason is None else {REASON_HEADER: reason}


def _refused(problem: Problem) -> Problem:
    metrics.REQUESTS_REFUSED.labels(problem.code).inc()
    return problem


def basic_user(header: str) -> str | None:
    """The user name of HTTP basic authorisation, where Segment's libraries put their write key.

    >>> basic_user("Basic azE6"), basic_user("Bearer x"), basic_user("Basic !")
    ('k1', None, None)
    """
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return b64decode(token, validate=True).decode().partition(":")[0] or None
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": description}
    for status, description in (
        (400, "The body cannot be read."),
        (401, "No valid key."),
        (403, "Not with this key from this page."),
        (413, "Too many bytes or events."),
        (429, "Above the rate, or the log is behind; see Retry-After."),
        (503, "The log is unavailable, or too many requests are under way."),
    )
}
_SEGMENT_BODY: Final = {
    "required": True,
    "description": "Segment's HTTP tracking API; the write key by basic authorisation, or as `writeKey`.",
    "content": {"application/json": {"schema": {"type": "object"}}, "text/plain": {"schema": {"type": "string"}}},
}
_GA4_BODY: Final = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"type": "object", "required": ["events"], "properties": {"events": {"type": "array"}}}
        }
    },
}
_SNOWPLOW_BODY: Final = {
    "required": True,
    "description": "payload_data of tracker protocol v2.",
    "content": {
        "application/json": {
            "schema": {"type": "object", "required": ["data"], "properties": {"data": {"type": "array"}}}
        }
    },
}


async def _segment(request: Request, call: str) -> Response:
    try:
        sender, body = await _sent(
            request,
            SEGMENT,
            segment.key_in,
            in_query=request.query_params.get("writeKey"),
            in_header=basic_user(request.headers.get("authorization", "")),
        )
        taken = await _collect(
            request, sender, body, "segment", lambda plain, mapper: segment.convert(plain, call, mapper)
        )
    except Problem as problem:
        raise _refused(problem) from None
    return Response(_SUCCESS, media_type="application/json", headers=_headers(taken.reason))


def _add_segment(path: str, call: str) -> None:
    async def take(request: Request) -> Response:
        return await _segment(request, call)

    take.__doc__ = (
        f"Segment's `{call}`: events that the mapping names are recorded, all others accepted and counted.\n\n"
        "The answer is Segment's; X-Penstock-Reason says why an event was refused."
    )
    router.add_api_route(
        path, take, methods=["POST"], name=f"segment_{call}", response_class=Response,
        responses={200: {"description": "Taken."}, **_ANSWERS}, openapi_extra={"requestBody": _SEGMENT_BODY},
    )  # fmt: skip


for _path, _call in segment.PATHS.items():
    _add_segment(_path, _call)


@router.post(
    "/mp/collect", status_code=204, response_class=Response, responses=_ANSWERS,
    openapi_extra={"requestBody": _GA4_BODY},
)  # fmt: skip
async def measurement_protocol(
    request: Request,
    api_secret: Annotated[str | None, Query(description="A write-only key.")] = None,
    measurement_id: Annotated[str, Query(max_length=100, description="G-..., of a web stream.")] = "",
    firebase_app_id: Annotated[str, Query(max_length=100, description="Of an app.")] = "",
) -> Response:
    """GA4 Measurement Protocol: events that the mapping names are recorded. 204 whatever became of each event."""
    try:
        sender, body = await _sent(request, TRACKED, lambda _: None, in_query=api_secret)
        of = measurement_id or firebase_app_id
        taken = await _collect(request, sender, body, "ga4", lambda plain, mapper: ga4.convert(plain, of, mapper))
    except Problem as problem:
        raise _refused(problem) from None
    return Response(status_code=204, headers=_headers(taken.reason))


@router.post(
    "/com.snowplowanalytics.snowplow/tp2", response_class=Response,
    responses={200: {"description": "Taken."}, **_ANSWERS}, openapi_extra={"requestBody": _SNOWPLOW_BODY},
)  # fmt: skip
async def snowplow_post(request: Request, key: Annotated[str | None, _KEY] = None) -> Response:
    """Snowplow tracker protocol v2: events that the mapping names are recorded; `aid` may be the key."""
    try:
        sender, body = await _sent(request, TRACKED, snowplow.key_in, in_query=key)
        about = _visitor(request)
        taken = await _collect(
            request, sender, body, "snowplow", lambda plain, mapper: snowplow.from_body(plain, about, mapper)
        )
    except Problem as problem:
        raise _refused(problem) from None
    return Response(b"ok", media_type="text/plain", headers=_headers(taken.reason))


@router.get("/i", response_class=Response, responses={200: {"description": "The pixel.", "content": {"image/gif": {}}}})
async def snowplow_pixel(
    request: Request,
    key: Annotated[str | None, _KEY] = None,
    aid: Annotated[str | None, Query(description="The application's id, which may be the key.")] = None,
) -> Response:
    """Snowplow's pixel: one event in the query. Always the pixel; X-Penstock-Reason says what was not recorded."""
    reason: str | None
    try:
        sender: Sender = request.app.state.wiring.keys.sender(request, key or aid)
        about, query = _visitor(request), dict(request.query_params)
        query.pop("key", None)
        taken = await _collect(
            request, sender, b"", "snowplow", lambda _, mapper: snowplow.from_query(query, about, mapper)
        )
        reason = taken.reason
    except Problem as problem:
        reason = problem.code
    if reason is not None:
        metrics.TRACKERS_REFUSED.labels(reason).inc()
    return Response(PIXEL, media_type="image/gif", headers=UNCACHED | _headers(reason))


def _visitor(request: Request) -> dict[str, str]:
    """What a collector sees of a visitor, under the tracker protocol's names."""
    about = {"ua": request.headers.get("user-agent", "")}
    if request.client is not None:
        about["ip"] = request.client.host
    return about
