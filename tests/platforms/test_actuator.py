"""The whole way: decisions in the log, a platform on loopback, receipts in the log."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from platforms.host import Actuator
from platforms.model import Adapter, Applied, Change, Outcome, Request, Response, Retry, Unsupported
from platforms.outbox import Outbox
from platforms.registry import ADAPTERS
from platforms.sender import CredentialsError, Sender, read_credentials
from schemas import topics
from schemas.campaigns import LINK_PLATFORMS, Campaign, PlatformLink
from schemas.control import CampaignRecord, encode_control
from schemas.decisions import Decision, Kind, Reason, encode_decision
from schemas.receipts import Receipt, decode_receipt, encode_receipt
from tests.support.decisions import decision_of
from tests.support.memory_log import MemoryLog

SECRET = "not-to-be-seen"
LINKS = {
    "google": PlatformLink(platform="google", account_id="1-2-3", campaign_ref="11"),
    "facebook": PlatformLink(platform="facebook", account_id="act_1", campaign_ref="12"),
    "tiktok": PlatformLink(platform="tiktok", account_id="70", campaign_ref="13"),
    "linkedin": PlatformLink(platform="linkedin", account_id="50", campaign_ref="14"),
    "twitter": PlatformLink(platform="twitter", account_id="18c", campaign_ref="15"),
}
KEYS = ("access_token", "developer_token", "consumer_key", "consumer_secret", "access_token_secret")


class Platform(BaseHTTPRequestHandler):
    """Answers as all five platforms would; `failures` requests are refused first."""

    seen: list[tuple[str, str, dict[str, str], bytes]]
    failures: int

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append((self.command, self.path, dict(self.headers), body))
        if type(self).failures > 0:
            type(self).failures -= 1
            self._answer(503, {"message": "down"})
        else:
            self._answer(200, {"code": 0, "request_id": "q1"})

    def do_PUT(self) -> None:
        self.do_POST()

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def platform() -> Iterator[tuple[str, type[Platform]]]:
    handler = type("Fresh", (Platform,), {"seen": [], "failures": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()


def log_with(links: list[PlatformLink], *decisions: Decision) -> MemoryLog:
    log = MemoryLog()
    campaign = Campaign(campaign_id="c", name="c", currency="USD", platforms=links)
    record = CampaignRecord(
        key="campaign/default/c", org_id="default", campaign_id="c", version=1, changed_by="t", changed_ms=0,
        campaign=campaign.model_dump(mode="json"),
    )  # fmt: skip
    log.append(topics.CONTROL, 0, [encode_control(record)], keys=[record.key])
    log.append(topics.DECISIONS, 0, [encode_decision(d) for d in decisions])
    return log


def pause() -> Decision:
    return decision_of(
        decision_id="d1", org_id="default", campaign_id="c", kind=Kind.PAUSE.value,
        reason=Reason.DAILY_BUDGET_REACHED.value, ts_ms=0, effective_ms=0, before={"state": "active"},
        after={"state": "paused"}, inputs={}, policy="budget",
    )  # fmt: skip


def receipts(log: MemoryLog) -> list[Receipt]:
    """What became of sendings; that an attempt began is left out, and so is what nobody can read."""
    found = []
    for record in log.records(topics.RECEIPTS):
        with suppress(msgspec.MsgspecError, RecursionError):
            found.append(decode_receipt(record))
    return [receipt for receipt in found if receipt.state != "sending"]


async def run_until(
    log: MemoryLog, base_url: str, platforms: list[str], final: int,
    adapters: Mapping[str, Adapter] = ADAPTERS, **options: bool,
) -> None:  # fmt: skip
    credentials = {p: {**{key: f"{SECRET}-{key}" for key in KEYS}, "base_url": base_url} for p in platforms}
    stop = asyncio.Event()
    # Waits are real here: the clock runs a hundred times as fast.
    loop = asyncio.get_running_loop()
    async with httpx.AsyncClient() as client:
        sender = Sender(credentials, clock_ms=lambda: round(loop.time() * 100_000), client=client, adapters=adapters)
        outbox = Outbox(adapters, frozenset(credentials))
        actuator = Actuator(log, outbox, sender, lambda: round(loop.time() * 100_000), **options)
        running = asyncio.create_task(actuator.run(stop))
        deadline = loop.time() + 20
        while sum(r.state != "retrying" for r in receipts(log)) < final:
            assert loop.time() < deadline, receipts(log)
            await asyncio.sleep(0.01)
        stop.set()
        await running


@pytest.mark.parametrize("name", sorted(LINKS))
async def test_a_pause_reaches_every_platform_once(name: str, platform: tuple[str, type[Platform]]) -> None:
    url, handler = platform
    log = log_with([LINKS[name]], pause(), pause())
    await run_until(log, url, [name], final=1)
    assert len(handler.seen) == 1
    [receipt] = receipts(log)
    assert (receipt.state, receipt.platform, receipt.attempts) == ("applied", name, 1)


class Board:
    """A platform of this test: one POST for a pause, signed with a hash of the request."""

    platform = "board"
    base_url = "https://api.board.example"
    requests_per_second = 5.0
    needs = frozenset({"access_token"})

    def make_requests(self, change: Change) -> list[Request] | Unsupported:
        if change.kind not in (Kind.PAUSE, Kind.RESUME):
            return Unsupported(f"Board has no {change.kind}")
        return [Request("POST", f"{self.base_url}/ads/{change.link.campaign_ref}", body={"on": not change.paused})]

    def read_response(self, response: Response) -> Outcome:
        return Applied() if response.status < 300 else Retry(str(response.status), "later")

    def sign(self, method: str, url: str, credentials: Mapping[str, str]) -> Mapping[str, str]:
        signed = hashlib.sha256(f"{method} {url} {credentials['access_token']}".encode()).hexdigest()
        return {"X-Signature": signed}


async def test_a_platform_that_is_added_here_is_linked_called_and_signed_for(
    platform: tuple[str, type[Platform]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All that a new platform needs: an adapter, its place in the registry, and its name."""
    monkeypatch.setattr("schemas.campaigns.LINK_PLATFORMS", ("google", "board"))
    adapters: dict[str, Adapter] = {**ADAPTERS, "board": Board()}
    url, handler = platform
    log = log_with([PlatformLink(platform="board", account_id="b", campaign_ref="17")], pause())
    await run_until(log, url, ["board"], final=1, adapters=adapters)
    [(method, path, headers, body)] = handler.seen
    assert (method, path, json.loads(body)) == ("POST", "/ads/17", {"on": False})
    signed = f"POST {url}/ads/17 {SECRET}-access_token"
    assert headers["X-Signature"] == hashlib.sha256(signed.encode()).hexdigest()
    assert [receipt.state for receipt in receipts(log)] == ["applied"]
    (tmp_path / "c.json").write_text('{"board": {}}')
    with pytest.raises(CredentialsError, match="board: access_token missing"):
        read_credentials(tmp_path / "c.json", adapters)


def test_a_link_may_name_just_the_platforms_that_have_an_adapter_and_our_own_bidder() -> None:
    assert {*ADAPTERS, "openrtb"} == set(LINK_PLATFORMS)


async def test_no_receipt_shows_a_credential(platform: tuple[str, type[Platform]]) -> None:
    url, handler = platform
    log = log_with(list(LINKS.values()), pause())
    await run_until(log, url, list(LINKS), final=5)
    assert any(SECRET in str(headers) for _, _, headers, _ in handler.seen)
    assert SECRET not in repr(receipts(log))


async def test_x_requests_are_signed(platform: tuple[str, type[Platform]]) -> None:
    url, handler = platform
    await run_until(log_with([LINKS["twitter"]], pause()), url, ["twitter"], final=1)
    [(method, path, headers, _)] = handler.seen
    assert (method, path) == ("PUT", "/12/accounts/18c/campaigns/15?entity_status=PAUSED")
    assert headers["Authorization"].startswith("OAuth ")
    assert "oauth_signature=" in headers["Authorization"]


async def test_a_platform_that_is_down_gets_the_pause_when_it_is_back(platform: tuple[str, type[Platform]]) -> None:
    url, handler = platform
    handler.failures = 3
    log = log_with([LINKS["tiktok"]], pause())
    await run_until(log, url, ["tiktok"], final=1)
    assert [r.state for r in receipts(log)] == ["retrying"] * 3 + ["applied"]


async def test_a_restart_sends_nothing_again(platform: tuple[str, type[Platform]]) -> None:
    url, handler = platform
    log = log_with([LINKS["tiktok"]], pause())
    await run_until(log, url, ["tiktok"], final=1)
    log.append(topics.DECISIONS, 0, [encode_decision(pause())])
    other = pause()
    other.decision_id, other.kind = "d2", Kind.RESUME.value
    log.append(topics.DECISIONS, 0, [encode_decision(other)])
    await run_until(log, url, ["tiktok"], final=2)
    assert [json.loads(body)["operation_status"] for *_, body in handler.seen] == ["DISABLE", "ENABLE"]


async def test_what_was_parked_is_sent_again_only_when_asked(platform: tuple[str, type[Platform]]) -> None:
    url, handler = platform
    log = log_with([LINKS["tiktok"]], pause())
    await run_until(log, url, ["tiktok"], final=1)
    [applied] = receipts(log)
    parked = msgspec.structs.replace(applied, state="parked")
    log.append(topics.RECEIPTS, 0, [encode_receipt(parked)])
    await run_until(log, url, ["tiktok"], final=2)
    assert len(handler.seen) == 1
    await run_until(log, url, ["tiktok"], final=3, retry_parked=True)
    assert len(handler.seen) == 2
    assert receipts(log)[-1].state == "applied"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("{", "readable JSON", id="not JSON"),
        pytest.param("[]", "one member a platform", id="not an object"),
        pytest.param('{"myspace": {}}', "no platform", id="an unknown platform"),
        pytest.param('{"google": {"access_token": "hush"}}', "developer_token missing", id="a missing key"),
    ],
)
def test_bad_credentials_are_refused_without_showing_them(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(text)
    with pytest.raises(CredentialsError, match=said) as caught:
        read_credentials(path)
    assert "hush" not in str(caught.value)
