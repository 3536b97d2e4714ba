"""Replay of real auctions in closed loop: what a campaign serves now decides what it wins next."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cli.replay_files import Findings, open_client, show_summary
from cli.replay_sender import RefusedError, Sender
from ingest.replay.auctions import Auction, MarketEvents, Participation, read_auctions
from ingest.replay.lines import BadLine, RecordedFile
from schemas.serving import Serving

# The served state is read this often: what is won in between is spend in flight.
SERVING_EVERY_S: Final = 0.02
# Auctions between two looks at the served state when there is no pace.
STEP_AUCTIONS: Final = 500
_KNOWN_S: Final = 10.0
# Wins remembered for telling what was in flight when a pause was decided.
_WINS_MAX: Final = 100_000


@dataclass(frozen=True)
class AuctionsReplay:
    """What to replay and how. `bid_micros` is bid while the campaign's serving state has no bid."""

    file: Path
    campaign_id: str
    budget_micros: int
    auctions_per_second: float
    bid_micros: int | None
    resume_wait_s: float


@dataclass
class Account:
    """What the campaign did in the market."""

    auctions: int = 0
    taken_part: int = 0
    impressions: int = 0
    clicks: int = 0
    spent_micros: int = 0
    pauses: int = 0
    # Decided at and spent until then, of the last pause.
    paused_ms: int | None = None
    spent_after_pause_micros: int = 0
    _wins: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=_WINS_MAX))

    def book(self, events: list[dict[str, Any]], ts_ms: int) -> None:
        """Add what one auction gave."""
        for event in events:
            if event["type"] == "click":
                self.clicks += 1
            else:
                self.impressions += 1
                self.spent_micros += event["cost_micros"]
                self._wins.append((ts_ms, event["cost_micros"]))

    def pause(self, decided_ms: int) -> None:
        """Remember a pause: what was won since it was decided was in flight."""
        self.pauses += 1
        self.paused_ms = decided_ms
        self.spent_after_pause_micros = sum(cost_micros for ts_ms, cost_micros in self._wins if ts_ms > decided_ms)


def replay_auctions(wanted: AuctionsReplay, *, url: str, api_key: str, patience_s: float, as_json: bool) -> None:
    """Run the loop and print its summary; exit code 1 when the api refused or could not be reached."""
    console = Console(stderr=True)
    findings = Findings(console)
    account = Account()
    began = time.monotonic()
    ended = "file_ended"
    trouble: str | None = None
    with open_client(url, api_key) as client:
        sender = Sender(client, patience_s=patience_s, say=findings.say)
        loop = _Loop(wanted, client, sender, account, findings)
        try:
            with Progress(*_columns(), console=console, disable=not console.is_terminal) as progress:
                ended = loop.run(progress)
        except (RefusedError, httpx.TransportError) as error:
            ended, trouble = "error", str(error)
        except OSError as error:
            ended, trouble = "error", f"{error.filename or wanted.file}: {error.strerror}"
        except KeyboardInterrupt:
            ended, trouble = "stopped", "stopped by hand"
    show_summary(_summary(wanted, account, sender, findings, began, ended, trouble), as_json=as_json)
    if trouble is not None:
        raise typer.Exit(1)


def _summary(
    wanted: AuctionsReplay,
    account: Account,
    sender: Sender,
    findings: Findings,
    began: float,
    ended: str,
    trouble: str | None,
) -> dict[str, Any]:
    return {
        "campaign_id": wanted.campaign_id,
        "auctions": account.auctions,
        "taken_part": account.taken_part,
        "impressions": account.impressions,
        "clicks": account.clicks,
        "spent_micros": account.spent_micros,
        "budget_micros": wanted.budget_micros,
        "overspend_micros": max(0, account.spent_micros - wanted.budget_micros),
        "spent_after_pause_micros": account.spent_after_pause_micros,
        "pauses": account.pauses,
        "ended": ended,
        "sent": sender.total.sent,
        "accepted": sender.total.accepted,
        "rejected": sender.total.rejected,
        "bad_lines": findings.bad_lines,
        "retries": sender.total.retries,
        "seconds": round(time.monotonic() - began, 3),
        "reasons": dict(findings.reasons) | sender.total.reasons,
        "error": trouble,
    }


class _Loop:
    """Auction after auction at the wanted pace, with the campaign's state as it is served."""

    def __init__(
        self, wanted: AuctionsReplay, client: httpx.Client, sender: Sender, account: Account, findings: Findings
    ) -> None:
        self._wanted = wanted
        self._client = client
        self._sender = sender
        self._account = account
        self._findings = findings
        self._market = MarketEvents(wanted.campaign_id, run=str(time.time_ns()))
        self._participation = Participation()
        self._encoder = msgspec.json.Encoder()
        # Wall time in which the pace stood still, so that no rush follows a pause.
        self._start_s = 0.0
        self._looked_s = 0.0

    def run(self, progress: Progress) -> str:
        """Why it ended: `file_ended` or `paused`."""
        file = RecordedFile(self._wanted.file)
        task = progress.add_task("auctions", total=file.size_bytes, auctions=0, spent=0.0)
        auctions = self._auctions(file)
        self._start_s = time.monotonic()
        self._wait_until_known()
        while True:
            serving = self._serving()
            if serving.paused:
                self._account.pause(serving.decided_ms)
                if not self._wait_for_resume():
                    return "paused"
                continue
            step = list(islice(auctions, self._due()))
            if not step:
                return "file_ended"
            self._compete(step, self._bid_micros(serving), serving.pacing_rate)
            spent = self._account.spent_micros / 1e6
            progress.update(task, completed=file.read_bytes, auctions=self._account.auctions, spent=spent)

    def _auctions(self, file: RecordedFile) -> Iterator[Auction]:
        for auction in read_auctions(file):
            if isinstance(auction, BadLine):
                self._findings.bad(auction)
            else:
                yield auction

    def _due(self) -> int:
        """Auctions due by now; waits so that the served state is not read more often than SERVING_EVERY_S."""
        rate = self._wanted.auctions_per_second
        if math.isinf(rate):
            return STEP_AUCTIONS
        while True:
            time.sleep(max(0.0, self._looked_s + SERVING_EVERY_S - time.monotonic()))
            self._looked_s = time.monotonic()
            due = int((self._looked_s - self._start_s) * rate) - self._account.auctions
            if due > 0:
                return min(due, max(STEP_AUCTIONS, int(2 * SERVING_EVERY_S * rate)))

    def _compete(self, auctions: list[Auction], bid_micros: int, pacing_rate: float) -> None:
        """Bid in the auctions and report what was won; returns when the collector has it."""
        account = self._account
        records: list[bytes] = []
        ts_ms = time.time_ns() // 1_000_000
        for auction in auctions:
            number = account.auctions
            account.auctions += 1
            if not self._participation.takes_part(pacing_rate):
                continue
            account.taken_part += 1
            events = self._market.of(number, auction, bid_micros, ts_ms)
            account.book(events, ts_ms)
            records += map(self._encoder.encode, events)
        if records:
            for record, error in self._sender.send(records):
                self._findings.refused(record, error)

    def _bid_micros(self, serving: Serving) -> int:
        bid_micros = serving.bid_micros if serving.bid_micros is not None else self._wanted.bid_micros
        if bid_micros is None:
            raise RefusedError(
                f"campaign {self._wanted.campaign_id} serves no bid: set bidding.bid_micros in its definition, "
                "or name one with --bid-micros"
            )
        return bid_micros

    def _wait_for_resume(self) -> bool:
        began = time.monotonic()
        while time.monotonic() - began < self._wanted.resume_wait_s:
            time.sleep(SERVING_EVERY_S)
            if not self._serving().paused:
                self._start_s += time.monotonic() - began
                return True
        return False

    def _wait_until_known(self) -> None:
        """A campaign put a moment ago is served once the api has read it back from the log."""
        deadline = time.monotonic() + _KNOWN_S
        while self._ask().status_code == 404 and time.monotonic() < deadline:
            time.sleep(SERVING_EVERY_S)

    def _ask(self) -> httpx.Response:
        return self._client.get(f"/api/v1/campaigns/{self._wanted.campaign_id}/serving")

    def _serving(self) -> Serving:
        """The campaign's state now. Raises RefusedError for an unknown campaign, httpx.TransportError."""
        response = self._ask()
        if response.status_code == 404:
            raise RefusedError(
                f"the api knows no campaign {self._wanted.campaign_id}: `penstock campaign put FILE.json`"
            )
        if response.status_code != 200:
            raise RefusedError(f"{response.request.url} answered {response.status_code}: {response.text[:200]}")
        return msgspec.json.decode(response.content, type=Serving)


def _columns() -> tuple[Any, ...]:
    count = TextColumn("{task.fields[auctions]:,} auctions, {task.fields[spent]:,.2f} spent")
    return (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        count,
        TimeElapsedColumn(),
    )
