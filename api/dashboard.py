"""The dashboard's files, served by the api at `/` with headers that let the page run nothing but its own code."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Match, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

DIST: Final = Path(__file__).resolve().parent.parent / "live_dashboard" / "dist"
# Vite writes this where a nonce belongs; each answer gets its own.
NONCE_SIGN: Final = "__CSP_NONCE__"
# Names under /assets/ carry a hash of their content, so that they never change.
FOREVER: Final = "public, max-age=31536000, immutable"

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}

_MISSING: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Penstock: dashboard not built</title></head>
<body><main><h1>The dashboard is not built yet</h1>
<p>The api is running. To build the dashboard, run this where the project is, then load this page again:</p>
<pre>cd live_dashboard
npm ci
npm run build</pre>
</main></body></html>
"""


def content_security_policy(nonce: str) -> str:
    """Only this server's scripts, and styles that carry the answer's nonce; no frames, no forms to elsewhere.

    >>> "script-src 'self' 'nonce-n1';" in content_security_policy("n1")
    True
    """
    return (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'nonce-{nonce}'; "
        "img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )


class _Assets(StaticFiles):
    """Files whose names change with their content."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code in (200, 304):
            response.headers["Cache-Control"] = FOREVER
            response.headers["X-Content-Type-Options"] = "nosniff"
        return response


class _TopFile(Route):
    """A file beside the page, such as its icon; no route where there is no such file."""

    def __init__(self, dist: Path) -> None:
        async def file(request: Request) -> Response:
            path = dist / request.path_params["name"]
            return FileResponse(path, headers={"Cache-Control": "public, max-age=3600"})

        super().__init__("/{name}", file)
        self._dist = dist

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        if match is not Match.NONE and not (self._dist / child["path_params"]["name"]).is_file():
            return Match.NONE, {}
        return match, child


def dashboard_routes(dist: Path = DIST) -> list[Route | Mount]:
    """Routes for the page at `/`, its files at `/assets/` and those beside it: put them behind the api's.

    The page finds its way by what is behind `#`, so that every other path is none. `dist` is looked at on every
    request, so that a dashboard built while the api runs is there at once.
    """

    async def page(_: Request) -> Response:
        return _index(dist)

    return [
        Mount("/assets", _Assets(directory=dist / "assets", check_dir=False)),
        Route("/", page),
        Route("/index.html", page),
        _TopFile(dist),
    ]


def _index(dist: Path) -> Response:
    nonce = secrets.token_urlsafe(16)
    headers = _HEADERS | {"Content-Security-Policy": content_security_policy(nonce), "Cache-Control": "no-cache"}
    try:
        text = (dist / "index.html").read_text("utf-8")
    except FileNotFoundError:
        return HTMLResponse(_MISSING, status_code=503, headers=headers)
    return HTMLResponse(text.replace(NONCE_SIGN, nonce), headers=headers)
