"""What a request says: its statement, its database, its settings and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request

from storage.service import compression, errors
from storage.service.bodies import Share, bounded
from storage.service.engine import DATABASE, Call
from storage.service.errors import refused
from storage.service.statements import statement

# Parameters that steer the transport, or that only mean something to a server with sessions: taken and not acted on.
_TRANSPORT: Final = frozenset(
    {"query", "database", "user", "password", "default_format", "query_id", "session_id", "session_timeout"}
    | {"session_check", "quota_key", "wait_end_of_query", "buffer_size", "compress", "decompress", "role"}
    | {"client_protocol_version", "send_progress_in_http_headers", "http_headers_progress_interval_ms"}
    | {"enable_http_compression", "cancel_http_readonly_queries_on_client_close", "http_zlib_compression_level"}
    | {"add_http_cors_header", "stacktrace", "close_session", "readonly"}
)
# One field of a form, such as a long parameter.
_FORM_FIELD_BYTES_MAX: Final = 2**20


async def received(request: Request, bytes_max: int, share: Share) -> tuple[dict[str, str], bytes]:
    """The parameters of a request, a form's fields among them, and its body; raises ServiceError when it is larger or
    too slow (`storage.service.bodies`)."""
    parameters = dict(request.query_params)
    request = bounded(request, bytes_max, share)
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form(max_files=0, max_part_size=_FORM_FIELD_BYTES_MAX) as form:
            parameters.update({name: value for name, value in form.items() if isinstance(value, str)})
        return parameters, b""
    return parameters, b"".join([part async for part in request.stream()])


def call_of(request: Request, parameters: Mapping[str, str], body: bytes, *, changes: bool) -> Call:
    """The call that a request asks for. `changes`: its user may change things; a GET never does, as in ClickHouse, so
    that a link or a prefetch cannot."""
    for name in ("compress", "decompress"):
        if parameters.get(name) == "1":
            detail = f"{name}=1 is not spoken here; set {name}=0 and use HTTP compression."
            raise refused(errors.UNKNOWN_COMPRESSION_METHOD, detail)
    settings = {
        name: value for name, value in parameters.items() if name not in _TRANSPORT and not name.startswith("param_")
    }
    if changes and request.method in ("GET", "HEAD"):
        settings["readonly"] = "2"
    headers = request.headers
    return Call(
        statement=statement(parameters.get("query", "").encode(), body),
        database=parameters.get("database") or headers.get("x-clickhouse-database") or DATABASE,
        settings=settings,
        parameters={name[len("param_") :]: value for name, value in parameters.items() if name.startswith("param_")},
        default_format=parameters.get("default_format") or headers.get("x-clickhouse-format") or "TabSeparated",
        wait_for_end=parameters.get("wait_end_of_query") == "1",
    )


def accepted_encoding(request: Request, parameters: Mapping[str, str]) -> str | None:
    """How to compress the answer: only when the client asks for it by `enable_http_compression=1` too."""
    if parameters.get("enable_http_compression", "0") not in ("1", "true"):
        return None
    return compression.chosen(request.headers.get("accept-encoding", ""))
