"""Sends an adapter's requests: credentials in, secrets never out of here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx
from oauthlib.oauth1 import Client as OAuth1

from platforms.google import GoogleAds
from platforms.linkedin import LinkedIn
from platforms.meta import Meta
from platforms.model import Adapter, Applied, Outcome, Request, Response, Retry
from platforms.outbox import Sending
from platforms.tiktok import TikTok
from platforms.x import X

ADAPTERS: Final[Mapping[str, Adapter]] = {
    adapter.platform: adapter for adapter in (GoogleAds(), Meta(), TikTok(), LinkedIn(), X())
}
# Keys that each platform's credentials must have.
NEEDED: Final[Mapping[str, frozenset[str]]] = {
    "google": frozenset({"access_token", "developer_token"}),
    "facebook": frozenset({"access_token"}),
    "tiktok": frozenset({"access_token"}),
    "linkedin": frozenset({"access_token"}),
    "twitter": frozenset({"consumer_key", "consumer_secret", "access_token", "access_token_secret"}),
}
TIMEOUT_S: Final = 20.0
MESSAGE_MAX: Final = 1_000

Credentials = Mapping[str, Mapping[str, str]]


class CredentialsError(ValueError):
    """The credentials file cannot be used; the message names the platform and the key, never a value."""


def read_credentials(path: Path | None) -> Credentials:
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
        if platform not in NEEDED:
            raise CredentialsError(f"{platform!r} is no platform; known are {', '.join(sorted(NEEDED))}")
        if missing := NEEDED[platform] - set(given):
            raise CredentialsError(f"{platform}: {', '.join(sorted(missing))} missing")
    return loaded


class Sender:
    """Sends over HTTP with the platform's credentials."""

    def __init__(self, credentials: Credentials, *, clock_ms: Callable[[], int], client: httpx.AsyncClient) -> None:
        self._credentials = credentials
        self._clock_ms = clock_ms
        self._client = client

    async def send(self, sending: Sending) -> tuple[Outcome, int | None]:
        """Send the requests in order; the first outcome that is not Applied ends it."""
        adapter = ADAPTERS[sending.link.platform]
        outcome: Outcome = Applied()
        status: int | None = None
        for request in sending.requests:
            try:
                response = await self._one(adapter, request)
            except httpx.HTTPError as error:
                return Retry("unreachable", type(error).__name__), None
            outcome, status = adapter.read_response(response), response.status
            if not isinstance(outcome, Applied):
                return _bounded(outcome), status
        return outcome, status

    async def _one(self, adapter: Adapter, request: Request) -> Response:
        credentials = self._credentials[adapter.platform]
        url = str(httpx.URL(request.url, params=dict(request.query) or None))
        if "base_url" in credentials:
            url = url.replace(adapter.base_url, credentials["base_url"].rstrip("/"), 1)
        headers = {**request.headers, **adapter.auth_headers(credentials)}
        if adapter.platform == "twitter":
            headers |= _signature(credentials, request.method, url)
        answer = await self._client.request(
            request.method, url, headers=headers, json=request.body, data=request.form, timeout=TIMEOUT_S
        )
        names = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status_code, names, _parsed(answer), self._clock_ms())


def _signature(credentials: Mapping[str, str], method: str, url: str) -> Mapping[str, str]:
    signer = OAuth1(
        credentials["consumer_key"],
        client_secret=credentials["consumer_secret"],
        resource_owner_key=credentials["access_token"],
        resource_owner_secret=credentials["access_token_secret"],
    )
    _, headers, _ = signer.sign(url, http_method="PUT" if method == "PUT" else "POST")
    return {str(name): str(value) for name, value in headers.items()}


def _parsed(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return answer.text[:MESSAGE_MAX]


def _bounded(outcome: Outcome) -> Outcome:
    if isinstance(outcome, Applied):
        return outcome
    return replace(outcome, message=outcome.message[:MESSAGE_MAX])
