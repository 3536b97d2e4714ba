"""The dashboard's files, served by the api at `/` with headers that let the page run nothing but its own code."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

DIST: Final = Path(__file__).resolve().parent.parent / "live_dashboard" / "dist"
# Vite writes this where a nonce belongs; each answer gets its own.
NONCE_SIGN: Final = "__CSP_NONCE__"
# Names under /assets/ carry a hash of their content, so that they never change.
FOREVER: Final = "public, max-age=31536000, immutable"
# Paths that belong to the api: a wrong one is a 404 and not the page.
API_PREFIXES: Final = ("api/", "metrics", "healthz", "readyz", "openrtb2/", "assets/")

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


def dashboard_routes(dist: Path = DIST) -> list[Route | Mount]:
    """Routes for `/`, `/assets/` and every other path that is not the api's: put them last.

    `dist` is looked at on every request, so that a dashboard built while the api runs is there at once.
    """

    async def page(request: Request) -> Response:
        path = request.path_params.get("path", "")
        if path.startswith(API_PREFIXES):
            return PlainTextResponse("Not Found", status_code=404)
        if "/" not in path and path not in ("", "index.html") and (dist / path).is_file():
            return FileResponse(dist / path, headers={"Cache-Control": "public, max-age=3600"})
        return _index(dist)

    return [
        Mount("/assets", _Assets(directory=dist / "assets", check_dir=False)),
        Route("/", page),
        Route("/{path:path}", page),
    ]


def _index(dist: Path) -> Response:
    nonce = secrets.token_urlsafe(16)
    headers = _HEADERS | {"Content-Security-Policy": content_security_policy(nonce), "Cache-Control": "no-cache"}
    try:
        text = (dist / "index.html").read_text("utf-8")
    except FileNotFoundError:
        return HTMLResponse(_MISSING, status_code=503, headers=headers)
    return HTMLResponse(text.replace(NONCE_SIGN, nonce), headers=headers)
