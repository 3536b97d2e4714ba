"""What a request says: its statement, its database, its settings and parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import UploadFile
from starlette.requests import Request

from storage.service import blocks, compression, errors, external
from storage.service.bodies import Share, bounded
from storage.service.engine import DATABASE, Call
from storage.service.errors import refused
from storage.service.external import External
from storage.service.statements import statement, writes_a_file

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


@dataclass(frozen=True, slots=True)
class Received:
    """What came: parameters of the URL and of a form, the body as it was sent, and a form's files as tables."""

    parameters: dict[str, str]
    body: bytes = b""
    externals: tuple[External, ...] = ()

    def plain(self, encoding: str, bytes_max: int, take: Callable[[int], None]) -> bytes:
        """The body without its Content-Encoding and without ClickHouse's own blocks (`decompress=1`)."""
        body = compression.decompressed(self.body, encoding, bytes_max, take)
        return blocks.unpacked(body, bytes_max, take) if _is_on(self.parameters, "decompress") else body


def _is_on(parameters: Mapping[str, str], name: str) -> bool:
    return parameters.get(name, "0").lower() in ("1", "true")


async def received(request: Request, bytes_max: int, share: Share) -> Received:
    """What a request brings; raises ServiceError when it is larger or too slow (`storage.service.bodies`)."""
    parameters = dict(request.query_params)
    request = bounded(request, bytes_max, share)
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return Received(parameters, b"".join([part async for part in request.stream()]))
    async with request.form(max_files=external.TABLES_MAX, max_part_size=_FORM_FIELD_BYTES_MAX) as form:
        parameters.update({name: value for name, value in form.items() if isinstance(value, str)})
        tables: list[External] = []
        for name, file in form.multi_items():
            if isinstance(file, UploadFile):
                share.take(file.size or 0)
                tables.append(external.external(name, await file.read(), parameters))
    return Received(parameters, externals=tuple(tables))


def call_of(request: Request, came: Received, body: bytes, *, changes: bool) -> Call:
    """The call that a request asks for. `changes`: its user may change things; a GET never does, as in ClickHouse, so
    that a link or a prefetch cannot."""
    parameters = came.parameters
    settings = {
        name: value for name, value in parameters.items() if name not in _TRANSPORT and not name.startswith("param_")
    }
    if changes and request.method in ("GET", "HEAD"):
        settings["readonly"] = "2"
    headers = request.headers
    asked = statement(parameters.get("query", "").encode(), body)
    # What a reader asks is refused where all of it is looked at.
    if changes and writes_a_file(asked.text):
        raise refused(errors.INTO_OUTFILE_NOT_ALLOWED, "INTO OUTFILE is not allowed over HTTP.")
    return Call(
        statement=asked,
        database=parameters.get("database") or headers.get("x-clickhouse-database") or DATABASE,
        settings=settings,
        parameters={name[len("param_") :]: value for name, value in parameters.items() if name.startswith("param_")},
        default_format=parameters.get("default_format") or headers.get("x-clickhouse-format") or "TabSeparated",
        revision=int(named) if (named := parameters.get("client_protocol_version", "")).isdecimal() else 0,
        wait_for_end=_is_on(parameters, "wait_end_of_query"),
        externals=came.externals,
    )


def accepted_encoding(request: Request, parameters: Mapping[str, str]) -> str | None:
    """How to compress the answer: only when the client asks for it by `enable_http_compression=1` too."""
    if not _is_on(parameters, "enable_http_compression"):
        return None
    return compression.chosen(request.headers.get("accept-encoding", ""))


def packer(parameters: Mapping[str, str], encoding: str | None) -> Callable[[Iterator[bytes]], Iterator[bytes]]:
    """What turns an answer's bytes into those that are sent: ClickHouse's own blocks first (`compress=1`)."""
    outer = compression.packer(encoding)
    return (lambda chunks: outer(blocks.packed(chunks))) if _is_on(parameters, "compress") else outer
