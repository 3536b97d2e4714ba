"""ClickHouse's HTTP interface in front of the engine: what clickhouse-connect, curl and BI tools speak."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from storage.service import errors
from storage.service.access import User, authenticated
from storage.service.answers import AnswerResponse, disconnected
from storage.service.bodies import Room
from storage.service.door import Door
from storage.service.engine import leaves_state, run
from storage.service.errors import ServiceError, refused
from storage.service.lanes import Lane
from storage.service.outlet import ClientGone, Opening, Outlet
from storage.service.reading import Reading
from storage.service.requests import accepted_encoding, call_of, packer, received

# A request's body, unpacked; one insert of the store is a fifth of it.
BODY_BYTES_MAX: Final = 256 * 2**20
READER_BODY_BYTES_MAX: Final = 2**20

_CONTENT_TYPES: Final = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "Native": "application/octet-stream",
    "Arrow": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "RowBinary": "application/octet-stream",
}


@dataclass(frozen=True, slots=True)
class Desk:
    """What a user works with: threads for statements, room for bodies."""

    lane: Lane
    room: Room


@dataclass(frozen=True, slots=True)
class Service:
    """The users, and what each works with. `stop` ends a running statement by its mark, and does not wait."""

    users: Mapping[str, User]
    desks: Mapping[str, Desk]
    reading: Reading
    version: str
    stop: Callable[[str], None]


def app_of(service: Service) -> Starlette:
    """The interface as an ASGI application."""

    async def ping(_: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    async def root(request: Request) -> Response:
        query_id = request.query_params.get("query_id") or str(uuid.uuid4())
        try:
            return await _answer(service, request, query_id)
        except ServiceError as error:
            return _failure(service, error, query_id)
        except ClientDisconnect:
            return Response(status_code=499)
        # HTTPException: a form that is none, or of too many parts.
        except (ClientGone, UnicodeDecodeError, HTTPException) as error:
            return _failure(service, refused(errors.BAD_ARGUMENTS, f"The request cannot be read: {error}"), query_id)

    return Starlette(
        routes=[
            Route("/ping", ping, methods=["GET", "HEAD"]),
            Route("/replicas_status", ping, methods=["GET"]),
            Route("/", root, methods=["GET", "POST", "HEAD"]),
        ],
        middleware=[Middleware(Door)],
    )


async def _answer(service: Service, request: Request, query_id: str) -> Response:
    user = authenticated(service.users, request.headers, request.query_params)
    desk = service.desks[user.name]
    with desk.room.share() as share:
        bytes_max = READER_BODY_BYTES_MAX if user.reads_only else BODY_BYTES_MAX
        came = await received(request, bytes_max, share)
        if not came.parameters.get("query") and not came.body:
            return PlainTextResponse("Ok.\n")
        mark = f"penstock-{uuid.uuid4().hex}"
        encoding = accepted_encoding(request, came.parameters)
        pack = packer(came.parameters, encoding)
        outlet = Outlet(lambda: desk.lane.wanted)

        def work(connection: Any, outlet: Outlet) -> bool:
            plain = came.plain(request.headers.get("content-encoding", ""), bytes_max, share.take)
            call = call_of(request, came, plain, changes=not user.reads_only)
            call.mark = mark
            if user.reads_only:
                service.reading.run(call, user, outlet, pack)
                return False
            run(connection, call, outlet, pack)
            return leaves_state(call)

        began = time.perf_counter()
        desk.lane.submit(work, outlet, share.give_back)
        share.kept = True
    opening = await _opened(request, outlet, lambda: service.stop(mark))
    headers = _headers(opening, query_id, time.perf_counter() - began)
    if encoding is not None:
        headers["Content-Encoding"] = encoding
    return AnswerResponse(outlet, headers, left=lambda: service.stop(mark))


async def _opened(request: Request, outlet: Outlet, stop: Callable[[], None]) -> Opening:
    """The answer's beginning. Raises what the statement failed with, and ClientDisconnect when nobody waits for it."""
    gone: asyncio.Future[Any] = asyncio.ensure_future(disconnected(request.receive))
    opened: asyncio.Future[Any] = outlet.opened
    try:
        await asyncio.wait([gone, opened], return_when=asyncio.FIRST_COMPLETED)
        if outlet.opened.done():
            return outlet.opened.result()
    finally:
        gone.cancel()
        if not outlet.opened.done():
            outlet.leave()
            stop()
    raise ClientDisconnect


def _headers(opening: Opening, query_id: str, elapsed_s: float) -> dict[str, str]:
    counts = ("read_rows", "read_bytes", "written_rows", "written_bytes", "total_rows_to_read", "result_rows")
    summary = {name: str(opening.summary.get(name, 0)) for name in counts}
    summary["elapsed_ns"] = str(round(elapsed_s * 1e9))
    headers = {
        "X-ClickHouse-Query-Id": query_id,
        "X-ClickHouse-Timezone": "UTC",
        "X-ClickHouse-Server-Display-Name": "penstock-chdb",
        "X-ClickHouse-Summary": json.dumps(summary, separators=(",", ":")),
        "Content-Type": _CONTENT_TYPES.get(opening.output_format, "text/plain; charset=UTF-8"),
    }
    if opening.has_result:
        headers["X-ClickHouse-Format"] = opening.output_format
    return headers


def _failure(service: Service, error: ServiceError, query_id: str) -> Response:
    text = f"{error}" if "(version " in str(error) else f"{error} (version {service.version} (chDB))"
    # Of a refused body the rest is not read.
    headers = {
        "X-ClickHouse-Exception-Code": str(error.code),
        "X-ClickHouse-Query-Id": query_id,
        "Connection": "close",
    }
    if error.code == errors.TOO_MANY_SIMULTANEOUS_QUERIES:
        headers["Retry-After"] = "1"
    return PlainTextResponse(f"{text}\n", status_code=error.status, headers=headers)
