"""The one reader of request bodies: whoever calls it knows the organisation, and so has checked the key."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from api.body.compression import too_large
from api.body.limits import BodyLimit
from api.body.room import held_by
from api.problems import Problem


async def read_body(request: Request, org_id: str, limit: BodyLimit) -> bytes:
    """The body as it came, still compressed; its bytes count as the organisation's until the request ends.

    Raises Problem 413 as soon as it is too long, 408 when it comes too slowly, 429 or 503 when too many bodies are
    under way, ClientDisconnect when the sender leaves.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > limit.bytes_max):
        raise too_large(limit.bytes_max)
    try:
        return await _received(request, org_id, limit)
    except TimeoutError:
        detail = f"A body comes within {limit.whole_s:g} s, without a pause of {limit.idle_s:g} s."
        raise Problem(408, "slow_body", "The body came too slowly", detail) from None


async def _received(request: Request, org_id: str, limit: BodyLimit) -> bytes:
    held = held_by(request.scope)
    clock = asyncio.get_running_loop().time
    until = clock() + limit.whole_s
    parts: list[bytes] = []
    size = 0
    async with asyncio.timeout_at(min(until, clock() + limit.idle_s)) as patience:
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > limit.bytes_max:
                raise too_large(limit.bytes_max)
            if part:
                held.take(org_id, len(part))
                parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)
            patience.reschedule(min(until, clock() + limit.idle_s))
