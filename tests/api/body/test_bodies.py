"""One body reader for every route: the key first, then limits before, during and after decompression."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
import zstandard

from api.auth import ApiKeys
from api.formats import UNKEYED
from tests.api.conftest import Apis

SHOES = {"name": "Shoes", "currency": "EUR"}
DEEP = b"[" * 100_000 + b"]" * 100_000
# Every route that takes a body.
ROUTES = [
    ("POST", "/api/v1/events"),
    ("PUT", "/api/v1/campaigns/shoes"),
    ("PATCH", "/api/v1/campaigns/shoes"),
    ("POST", "/api/v1/campaigns/shoes/revert"),
    ("POST", "/api/v1/campaigns/shoes/override"),
    ("POST", "/api/v1/corrections"),
    ("POST", "/openrtb2/bid"),
]
# Their senders may say the key in the body, so a body without one in its head is read, to a limit of its own.
KEY_IN_BODY = [
    *(("POST", f"/v1/{name}") for name in ("track", "t", "page", "p", "screen", "identify", "i", "group", "g")),
    *(("POST", f"/v1/{name}") for name in ("alias", "a", "batch", "import")),
    ("POST", "/beacon/v1/batch"),
    ("POST", "/mp/collect"),
    ("POST", "/com.snowplowanalytics.snowplow/tp2"),
]


class Upload:
    """A body that tells how many of its bytes were asked for."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.read = 0

    def chunks(self) -> Any:
        while self.left > 0:
            part = min(65_536, self.left)
            self.left -= part
            self.read += part
            yield b" " * part


async def _sent(app: Any, method: str, path: str, upload: Upload, headers: dict[str, str]) -> tuple[int, int]:
    """Status, and how many bytes the app asked for; the body is handed over piece by piece, as a server does."""
    parts = upload.chunks()
    status = 0

    async def receive() -> dict[str, Any]:
        part = next(parts, None)
        if part is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": part, "more_body": upload.left > 0}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]

    lines = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", b"127.0.0.1"), *lines], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    await app(scope, receive, send)
    return status, upload.read


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_no_byte_of_a_body_is_read_before_the_key_is_known(bodies: Apis, method: str, path: str) -> None:
    api = bodies.start(keys=ApiKeys.parse("k1:acme"))
    upload = Upload(150 * 2**20)
    status, read = await _sent(api.client.app, method, path, upload, {"content-type": "application/json"})
    assert (status, read) == (401, 0)


@pytest.mark.parametrize(("method", "path"), KEY_IN_BODY)
async def test_a_body_that_may_hold_its_key_is_read_to_a_limit_of_its_own(bodies: Apis, method: str, path: str) -> None:
    api = bodies.start(keys=ApiKeys.parse("k1:acme"))
    upload = Upload(150 * 2**20)
    status, read = await _sent(api.client.app, method, path, upload, {"content-type": "application/json"})
    assert status in (401, 413)
    assert read <= UNKEYED.bytes_max + 65_536


@pytest.mark.parametrize(("method", "path"), ROUTES + KEY_IN_BODY)
async def test_a_body_that_is_announced_too_long_is_not_read(bodies: Apis, method: str, path: str) -> None:
    api = bodies.start()
    size = 150 * 2**20
    headers = {"content-type": "application/json", "content-length": str(size)}
    assert await _sent(api.client.app, method, path, Upload(size), headers) == (413, 0)


@pytest.mark.parametrize(("method", "path"), ROUTES + KEY_IN_BODY)
async def test_a_body_without_a_length_is_read_to_the_limit_of_its_route(bodies: Apis, method: str, path: str) -> None:
    api = bodies.start()
    status, read = await _sent(api.client.app, method, path, Upload(150 * 2**20), {"content-type": "application/json"})
    assert (status, read <= 9 * 2**20) == (413, True)


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[1] != "/openrtb2/bid"])
@pytest.mark.parametrize("body", [DEEP, b'{"name":' + DEEP + b"}"], ids=["array", "member"])
def test_json_that_nests_without_end_is_a_400(bodies: Apis, method: str, path: str, body: bytes) -> None:
    api = bodies.start()
    api.client.put("/api/v1/campaigns/shoes", json=SHOES)
    answer = api.client.request(method, path, content=body, headers={"content-type": "application/json"})
    # Of events, lines that long are refused before anybody looks into them.
    assert (answer.status_code, "nest" in answer.text or "too_large" in answer.text) == (400, True)


def test_a_bid_request_that_nests_without_end_is_a_400(bodies: Apis) -> None:
    api = bodies.start()
    body = b'{"id":"1","imp":[],"ext":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert api.client.post("/openrtb2/bid", content=body).status_code == 400


def test_brackets_in_text_are_not_nesting(bodies: Apis) -> None:
    api = bodies.start()
    note = '[{"\\' * 100
    api.client.put("/api/v1/campaigns/shoes", json=SHOES)
    answer = api.client.post("/api/v1/campaigns/shoes/override", json={"action": "pause", "note": note})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "malformed_json"),
        (b"\xff", {}, 400, "malformed_json"),
        (b"[]", {}, 422, "invalid_request"),
        (b"", {}, 400, "empty"),
        (b"{}", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        (b"{}", {"content-encoding": "br"}, 415, "unsupported_encoding"),
        (gzip.compress(b" " * 2**21), {"content-encoding": "gzip"}, 413, "too_large"),
        (zstandard.compress(b" " * 2**21), {"content-encoding": "zstd"}, 413, "too_large"),
    ],
    ids=[
        "broken",
        "not_utf8",
        "not_an_object",
        "nothing",
        "foreign_type",
        "foreign_encoding",
        "gzip_bomb",
        "zstd_bomb",
    ],
)
def test_settings_that_cannot_be_read_are_refused(
    bodies: Apis, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    api = bodies.start()
    path = "/api/v1/campaigns/shoes"
    answer = api.client.put(path, content=body, headers={"content-type": "application/json"} | headers)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:penstock:problem:{code}")


def test_settings_may_come_compressed(bodies: Apis) -> None:
    api = bodies.start()
    body = gzip.compress(b'{"name":"Shoes","currency":"EUR"}')
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert api.client.put("/api/v1/campaigns/shoes", content=body, headers=headers).status_code == 200


def test_every_route_that_takes_a_body_is_among_those_tested_here(bodies: Apis) -> None:
    document = bodies.start().client.get("/openapi.json").json()
    taking = {
        (method.upper(), path.replace("{campaign_id}", "shoes"))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "requestBody" in operation
    }
    known = {*ROUTES, *KEY_IN_BODY}
    assert taking <= known, f"add to ROUTES: {taking - known}"
