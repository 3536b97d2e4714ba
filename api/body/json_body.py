"""JSON bodies of settings: what a route takes in place of the framework's own body parameters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec
from fastapi import Request
from pydantic import TypeAdapter, ValidationError

from api.auth import CallerDep
from api.body.compression import decompress
from api.body.limits import BodyLimit
from api.body.reader import read_body
from api.problems import Problem, invalid
from schemas.nesting import NESTING_MAX, nests_too_deep

T = TypeVar("T")
_decoder: Final = msgspec.json.Decoder()
# RFC 7396's type among them.
_JSON: Final = ("application/json", "application/merge-patch+json")


def json_body(kind: type[T], limit: BodyLimit) -> Callable[..., Awaitable[T]]:
    """A dependency that gives the body as `kind`: the caller's key is checked before the first byte is read.

    Raises what `read_body` and `decompress` raise, Problem 415 for another content type, 400 for what is not JSON or
    nests too deep, 422 by field for what is not a `kind`.
    """
    adapter: TypeAdapter[T] = TypeAdapter(kind)

    async def body(request: Request, caller: CallerDep) -> T:
        _must_be_json(request.headers.get("content-type", ""))
        came = await read_body(request, caller.org_id, limit)
        # Settings are small: a thread would cost more than this.
        value = parse_json(decompress(came, request.headers.get("content-encoding", ""), limit.bytes_max))
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            raise invalid(error.errors(include_url=False)) from error

    return body


def parse_json(text: bytes) -> Any:
    """The value; raises Problem 400 for an empty text, for what is not JSON, for what nests too deep."""
    if not text.strip():
        raise Problem(400, "empty", "No body", "The request needs a body.")
    if nests_too_deep(text):
        raise nested_too_deep()
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, "malformed_json", "The body is not JSON", str(error)) from error


def nested_too_deep() -> Problem:
    """More arrays and objects within one another than anything of ours has."""
    return Problem(400, "nested_too_deep", "Too deep", f"The JSON nests deeper than {NESTING_MAX}.")


def _must_be_json(content_type: str) -> None:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in _JSON:
        detail = f"{media_type[:80]!r} is not application/json."
        raise Problem(415, "unsupported_media_type", "Unsupported content type", detail)
