"""ClickHouse's HTTP interface in front of the engine: what clickhouse-connect, curl and BI tools speak."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from storage.service import compression, errors
from storage.service.access import ReadingOnly, User, authenticated
from storage.service.answers import AnswerResponse, Lane
from storage.service.door import Door
from storage.service.engine import Answer, Call, run
from storage.service.errors import ServiceError
from storage.service.requests import accepted_encoding, call_of, received

# A request's body; one insert of the store is a tenth of it.
BODY_BYTES_MAX: Final = 512 * 2**20
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
class Service:
    """The users, and what each works with."""

    users: Mapping[str, User]
    lanes: Mapping[str, Lane]
    reading_only: ReadingOnly
    version: str


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
    parameters, body = await received(request, READER_BODY_BYTES_MAX if user.reads_only else BODY_BYTES_MAX)
    if not parameters.get("query") and not body:
        return PlainTextResponse("Ok.\n")
    lane = service.lanes[user.name]
    encoding = request.headers.get("content-encoding", "")

    def start() -> tuple[Call, Answer]:
        call = call_of(request, parameters, compression.decompressed(body, encoding), changes=not user.reads_only)
        return call, run(lane.connections, service.reading_only.checked(call) if user.reads_only else call)

    began = time.perf_counter()
    with lane.place() as place:
        call, answer = await asyncio.get_running_loop().run_in_executor(lane.executor, start)
        headers = _headers(call, answer, query_id, time.perf_counter() - began)
        return AnswerResponse(
            lane, answer, headers, accepted_encoding(request, parameters), leave=place.pop_all().close
        )


def _headers(call: Call, answer: Answer, query_id: str, elapsed_s: float) -> dict[str, str]:
    counts = ("read_rows", "read_bytes", "written_rows", "written_bytes", "total_rows_to_read", "result_rows")
    summary = {name: str(answer.summary.get(name, 0)) for name in counts}
    summary["elapsed_ns"] = str(round(elapsed_s * 1e9))
    headers = {
        "X-ClickHouse-Query-Id": query_id,
        "X-ClickHouse-Timezone": "UTC",
        "X-ClickHouse-Server-Display-Name": "penstock-chdb",
        "X-ClickHouse-Summary": json.dumps(summary, separators=(",", ":")),
        "Content-Type": _CONTENT_TYPES.get(call.output_format, "text/plain; charset=UTF-8"),
    }
    if call.statement.rows_format is None and (call.statement.reads or answer.head != [b""]) and answer.head:
        headers["X-ClickHouse-Format"] = call.output_format
    return headers


def _failure(service: Service, error: ServiceError, query_id: str) -> Response:
    text = f"{error}" if "(version " in str(error) else f"{error} (version {service.version} (chDB))"
    headers = {"X-ClickHouse-Exception-Code": str(error.code), "X-ClickHouse-Query-Id": query_id}
    if error.code == errors.TOO_MANY_SIMULTANEOUS_QUERIES:
        headers["Retry-After"] = "1"
    return PlainTextResponse(f"{text}\n", status_code=error.status, headers=headers)
