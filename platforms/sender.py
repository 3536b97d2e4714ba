"""Sends an adapter's requests: credentials in, secrets never out of here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx

from platforms.model import Adapter, Applied, Outcome, Rejected, Request, Response, Retry
from platforms.registry import ADAPTERS
from platforms.sending import Sending

# For one request, from connecting to the last byte of its answer.
TIMEOUT_S: Final = 20.0
MESSAGE_MAX: Final = 1_000
# Answers of platforms are a few kilobytes; more than this is none of theirs.
ANSWER_BYTES_MAX: Final = 1 << 20
# Failures in which nothing was sent.
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
# After these answers a platform, or a gateway before it, may still carry the request out.
_MAY_FOLLOW: Final = frozenset({408, 500, 502, 503, 504})

Credentials = Mapping[str, Mapping[str, str]]


class CredentialsError(ValueError):
    """The credentials file cannot be used; the message names the platform and the key, never a value."""


def read_credentials(path: Path | None, adapters: Mapping[str, Adapter] = ADAPTERS) -> Credentials:
    """Credentials by platform from a JSON file; empty without one. `base_url` may point a platform elsewhere.

    Raises CredentialsError.
    """
    if path is None:
        return {}
    try:
        loaded = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CredentialsError(f"{path} is not a readable JSON file: {type(error).__name__}") from None
    if not isinstance(loaded, dict):
        raise CredentialsError(f"{path} must hold an object, one member a platform")
    for platform, given in loaded.items():
        if platform not in adapters:
            raise CredentialsError(f"{platform!r} is no platform; known are {', '.join(sorted(adapters))}")
        if missing := adapters[platform].needs - set(given):
            raise CredentialsError(f"{platform}: {', '.join(sorted(missing))} missing")
    return loaded


class Sender:
    """Sends over HTTP with the platform's credentials."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        clock_ms: Callable[[], int],
        client: httpx.AsyncClient,
        timeout_s: float = TIMEOUT_S,
        adapters: Mapping[str, Adapter] = ADAPTERS,
    ) -> None:
        self._credentials = credentials
        self._adapters = adapters
        self._clock_ms = clock_ms
        self._client = client
        self.timeout_s = timeout_s

    async def send(self, sending: Sending, go_on: Callable[[], bool] = lambda: True) -> tuple[Outcome, int | None]:
        """Send the requests in order; the first outcome that is not Applied ends it. Raises nothing.

        `go_on` is asked before each request: False when another process has taken over.
        """
        adapter = self._adapters[sending.link.platform]
        outcome: Outcome = Applied()
        status: int | None = None
        for request in sending.requests:
            if not go_on():
                return Retry("handed_over", "another penstock actuate has taken over"), None
            try:
                response = await asyncio.wait_for(self._one(adapter, request), self.timeout_s)
            except (httpx.HTTPError, TimeoutError, ConnectionError) as error:
                return Retry("unreachable", type(error).__name__, unknown=not isinstance(error, _NOT_SENT)), None
            except Exception as error:
                # What no platform can have seen: an address or a value that makes no request. The words may hold it.
                return Rejected("cannot_send", f"the request cannot be made: {type(error).__name__}"), None
            outcome, status = adapter.read_response(response), response.status
            if not isinstance(outcome, Applied):
                return _bounded(outcome, status), status
        return outcome, status

    async def _one(self, adapter: Adapter, request: Request) -> Response:
        credentials = self._credentials[adapter.platform]
        url = str(httpx.URL(request.url, params=dict(request.query) or None))
        if "base_url" in credentials:
            url = url.replace(adapter.base_url, credentials["base_url"].rstrip("/"), 1)
        headers = {**request.headers, **adapter.sign(request.method, url, credentials)}
        async with self._client.stream(
            request.method, url, headers=headers, json=request.body, data=request.form, timeout=self.timeout_s
        ) as answer:
            names = {name.lower(): value for name, value in answer.headers.items()}
            return Response(answer.status_code, names, _parsed(await _body(answer)), self._clock_ms())


async def _body(answer: httpx.Response) -> bytes:
    body = b""
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > ANSWER_BYTES_MAX:
            break
    return body


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body[:MESSAGE_MAX].decode(errors="replace")


def _bounded(outcome: Retry | Rejected, status: int) -> Outcome:
    bounded = replace(outcome, message=outcome.message[:MESSAGE_MAX], code=outcome.code[:MESSAGE_MAX])
    if isinstance(bounded, Retry) and status in _MAY_FOLLOW:
        return replace(bounded, unknown=True)
    return bounded
