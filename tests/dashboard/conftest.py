"""The real api with the built dashboard, on a log in memory, in front of headless Chromium."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from api.app import create_app
from api.auth import ApiKeys
from api.wiring import Wiring
from control.store import ControlStore
from schemas.campaigns import Campaign
from schemas.control import DecisionWordRecord, decode_control
from schemas.corrections import COUNTERS
from schemas.kpis import Level, Window
from tests.support.live_feed import counters
from tests.support.memory_log import MemoryLog
from tests.support.needs import need
from tests.support.ports import free_ports
from tests.support.serve import served

DASHBOARD = Path(__file__).resolve().parents[2] / "live_dashboard"
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BUILD_TIMEOUT_S = 280


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class LogSink:
    """Appends without grouping."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def append(self, topic: str, partition: int, records: Sequence[bytes], *, owner: str = "") -> int:
        return self._log.append(topic, partition, records)


class ShownKpis:
    """A history of healthy windows."""

    def windows(
        self, org_id: str, campaign_id: str, window: Window, level: Level, from_ms: int, to_ms: int, limit: int
    ) -> Sequence[dict[str, Any]]:
        step = {Window.MINUTE: 60_000, Window.HOUR: 3_600_000}[window]
        starts = range(from_ms // step * step + step, to_ms, step)
        dimensions = dict.fromkeys(("creative_id", "channel", "country", "device"), "")
        return [
            {"window": window, "window_start_ms": start, "window_end_ms": start + step, **dimensions}
            | {
                name: getattr(counters(4_000 + start // step * 37 % 900), name)
                for name in counters(0).__struct_fields__
            }
            for start in starts
        ][:limit]


class ShownCorrections:
    """Corrections of a campaign as ClickHouse would have them, and the sums of its days as they are now."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.now = dict.fromkeys(COUNTERS, 0)

    def corrections(
        self, org_id: str, campaign_id: str, cause: str, before: tuple[int, str], limit: int
    ) -> Sequence[Mapping[str, Any]]:
        return [row for row in self.rows if row["campaign_id"] == campaign_id][:limit]

    def corrected(
        self, org_id: str, campaign_id: str, from_ms: int, to_ms: int
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        rows = [row for row in self.corrections(org_id, campaign_id, "", (0, ""), 10**6) if not row["refused"]]
        span = {"from_ms": now_ms() - 7 * 86_400_000, "to_ms": now_ms(), "days": 7}
        sums = {name: sum(row[name] for row in rows) for name in COUNTERS}
        return self.now | span, sums | {"corrections": len(rows)}

    def corrections_by_id(self, org_id: str, ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        return ()

    def spend_of_days(self, org_id: str, campaign_id: str, low_ms: int, high_ms: int) -> Sequence[tuple[int, int, int]]:
        return ()

    def has_campaign(self, org_id: str, campaign_id: str) -> bool:
        return False


class Site:
    """An api that can be stopped and started again on the same port with the same log."""

    def __init__(self, folder: Path, keys: str = "") -> None:
        self.log = MemoryLog()
        self.port = free_ports(1)[0]
        self.store = ControlStore.open("", folder)
        self.corrections = ShownCorrections()
        self._keys = ApiKeys.parse(keys)
        self._running = ExitStack()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        wiring = Wiring(
            log=self.log,
            sink=LogSink(self.log),
            store=self.store,
            now_ms=now_ms,
            keys=self._keys,
            kpis=ShownKpis(),
            corrections=self.corrections,
            version="0.1.0",
        )
        self._running.enter_context(served(create_app(wiring), self.port))

    def stop(self) -> None:
        self._running.close()

    def words(self, count: int) -> list[tuple[str, str]]:
        """People's words on decisions in topic `control`, once there are so many: publishing follows the answer."""
        deadline = time.monotonic() + 20.0
        while True:
            records = [decode_control(record) for record in self.log.records("control")]
            said = [(each.decision_id, each.word) for each in records if isinstance(each, DecisionWordRecord)]
            if len(said) >= count or time.monotonic() > deadline:
                return said
            time.sleep(0.01)

    def define(self, campaign_id: str, **fields: Any) -> None:
        """Put a definition in EUR with a daily budget of 500.00."""
        given = {"campaign_id": campaign_id, "name": f"Campaign {campaign_id}", "currency": "EUR"} | fields
        definition = Campaign.model_validate({"daily_budget_micros": 500_000_000} | given)
        self.store.put_campaign(definition, changed_by="test", now_ms=now_ms())


@contextmanager
def started(folder: Path, keys: str = "") -> Iterator[Site]:
    site = Site(folder, keys)
    site.start()
    try:
        yield site
    finally:
        site.stop()
        site.store.close()


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built dashboard, built first when it is missing or older than its sources."""
    built = DASHBOARD / "dist" / "index.html"
    # Test processes side by side build once.
    with (tmp_path_factory.getbasetemp().parent / "dashboard.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists() or built.stat().st_mtime < _newest_source():
            need(shutil.which("npm") is not None, "npm is not installed, and the dashboard is not built")
            if not (DASHBOARD / "node_modules" / "vite").exists():
                subprocess.run(
                    ["npm", "ci", "--no-audit", "--no-fund"], cwd=DASHBOARD, check=True, timeout=BUILD_TIMEOUT_S
                )
            subprocess.run(["npm", "run", "build"], cwd=DASHBOARD, check=True, timeout=BUILD_TIMEOUT_S)
    return built.parent


def _newest_source() -> float:
    sources = [
        *(DASHBOARD / "src").rglob("*"),
        *DASHBOARD.glob("*.json"),
        *DASHBOARD.glob("*.ts"),
        *DASHBOARD.glob("*.html"),
    ]
    return max(path.stat().st_mtime for path in sources if path.is_file())


# A module at a time: Playwright leaves an event loop running, and tests of other folders run loops of their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    need(executable is not None, "chromium is not installed")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield running
        running.close()


@pytest.fixture
def site(tmp_path: Path, dist: Path) -> Iterator[Site]:
    with started(tmp_path) as running:
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(viewport={"width": 1280, "height": 800}, timezone_id="Europe/Berlin", locale="en-GB")
    opened.set_default_timeout(20_000)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext, site: Site) -> Iterator[Page]:
    """A page that fails its test when the browser reports an error, a breach of the CSP among them."""
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.goto(site.url)
    yield opened
    opened.close()
    # A server that is away, or a request that a test stops, is no fault of the page.
    expected = ("WebSocket connection", "Failed to load resource")
    assert [error for error in errors if not error.startswith(expected)] == []
