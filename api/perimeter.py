"""Around every route: which hosts and pages may ask, which keys open metrics, and headers on every answer."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import ApiKeys, bearer_of, must_be_at_home
from api.problems import Problem, answer
from ingest.formats.segment import PATHS

# What pages of other sites may call: it takes events and tells nothing.
COLLECTOR_PATHS: Final = frozenset(
    {"/api/v1/events", "/api/v1/pixel.gif", "/api/v1/click", "/mp/collect", "/i", "/com.snowplowanalytics.snowplow/tp2"}
    | set(PATHS)
)
# Figures of every organisation, and what the api can do.
_METRICS: Final = "/metrics"
_OPENAPI: Final = "/openapi.json"
_SAFE_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    # For answers that are no pages; the dashboard's page brings its own.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": (
        # The first is RudderStack's.
        "anonymousid, authorization, content-encoding, content-type, x-api-key, x-request-id"
    ),
    "Access-Control-Max-Age": "600",
}
_EXPOSED: Final = "Retry-After, X-Penstock-Reason"


@dataclass(frozen=True, slots=True)
class CorsOrigins:
    """Pages that may call the collector from a browser: origins such as `https://shop.example`."""

    origins: frozenset[str] = frozenset()
    everybody: bool = False

    @classmethod
    def parse(cls, text: str, *, has_write_keys: bool) -> Self:
        """From comma-separated origins, or `*`; raises ValueError.

        >>> CorsOrigins.parse("https://shop.example", has_write_keys=True).takes("https://shop.example")
        True
        """
        given = frozenset(part.strip().rstrip("/") for part in text.split(",") if part.strip())
        if given and not has_write_keys:
            raise ValueError("PENSTOCK_CORS_ORIGINS needs PENSTOCK_WRITE_KEYS: no other key may stand in a page")
        for origin in given - {"*"}:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query:
                raise ValueError(f"PENSTOCK_CORS_ORIGINS: {origin!r} is not an origin such as https://shop.example")
        return cls(given - {"*"}, "*" in given)

    def takes(self, origin: str | None) -> bool:
        """May a page of this origin read what the collector answers?"""
        return origin is not None and (self.everybody or origin in self.origins)

    def __bool__(self) -> bool:
        return self.everybody or bool(self.origins)


@dataclass(frozen=True, slots=True)
class Perimeter:
    """Who may ask at all; `metrics_key` opens `/metrics` and `/openapi.json` and nothing else."""

    keys: ApiKeys
    cors: CorsOrigins = CorsOrigins()
    metrics_key: str = ""

    def check(self, connection: HTTPConnection) -> None:
        """Raises Problem 403 under a foreign name without keys, 401 for metrics without one."""
        if not self.keys.pairs:
            must_be_at_home(connection)
        elif (path := connection.url.path) in (_METRICS, _OPENAPI):
            self._must_know(connection, path)

    def _must_know(self, connection: HTTPConnection, path: str) -> None:
        key = bearer_of(connection)
        if self.metrics_key and key is not None and hmac.compare_digest(key.encode(), self.metrics_key.encode()):
            return
        self.keys.caller(connection)
        # Metrics name organisations, and their figures are of all of them.
        if path == _METRICS and len(self.keys.organisations) > 1:
            detail = "Several organisations share this api: its metrics take PENSTOCK_METRICS_KEY."
            raise Problem(403, "metrics_key", "Not with this key", detail)


class Guarded:
    """ASGI: the perimeter before an app, and safe headers on whatever is answered."""

    def __init__(self, app: ASGIApp, perimeter: Perimeter) -> None:
        self._app = app
        self._perimeter = perimeter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_collector = scope["path"] in COLLECTOR_PATHS
        origin = Headers(scope=scope).get("origin")
        cors = self._perimeter.cors if is_collector else CorsOrigins()

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SAFE_HEADERS.items():
                    # A landing page may know where its visitors come from.
                    if not (is_collector and name == "Referrer-Policy"):
                        headers.setdefault(name, value)
                if cors:
                    _allow(headers, origin, cors)
            await send(message)

        refusal = self._refusal(scope, cors)
        await (refusal or self._app)(scope, receive, send_safely)

    def _refusal(self, scope: Scope, cors: CorsOrigins) -> Response | None:
        """The answer to a request that no route sees: refused, or a browser's question beforehand."""
        connection = HTTPConnection(scope)
        try:
            self._perimeter.check(connection)
        except Problem as problem:
            return answer(problem)
        headers = connection.headers
        if scope["method"] == "OPTIONS" and cors and "access-control-request-method" in headers:
            if cors.takes(headers.get("origin")):
                return Response(status_code=204, headers=_PREFLIGHT)
            detail = "Pages of this origin are not among PENSTOCK_CORS_ORIGINS."
            return answer(Problem(403, "foreign_origin", "Not open to this page", detail))
        return None


def _allow(headers: MutableHeaders, origin: str | None, cors: CorsOrigins) -> None:
    """Let a listed page read the answer; never with credentials, so that no cookie of a visitor is of any use."""
    headers.add_vary_header("Origin")
    if origin is not None and cors.takes(origin):
        headers["Access-Control-Allow-Origin"] = "*" if cors.everybody else origin
        headers["Access-Control-Expose-Headers"] = _EXPOSED
