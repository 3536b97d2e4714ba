"""`penstock replay` against a collector on loopback: what is sent, what is reported, what is tried again."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from api.app import create_app
from api.wiring import Wiring
from cli.main import app
from cli.replay_sender import RefusedError, Sender
from control.store import ControlStore
from ingest.group_commit import GroupCommit
from tests.support.memory_log import MemoryLog
from tests.support.needs import shared_data
from tests.support.ports import free_ports
from tests.support.serve import served
from tests.support.tiny_collector import TinyCollector

TS_MS = 1_700_000_000_000


@pytest.fixture
def collector() -> TinyCollector:
    return TinyCollector()


@pytest.fixture
def url(collector: TinyCollector) -> Iterator[str]:
    with served(collector.app) as port:
        yield f"http://127.0.0.1:{port}"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["replay", *map(str, arguments)])


def summary(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def events_file(folder: Path, count: int, **fields: Any) -> Path:
    path = folder / "events.ndjson"
    events = [
        {"event_id": f"e{n}", "type": "click", "ts": TS_MS + n, "campaign_id": "c", **fields} for n in range(count)
    ]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


@pytest.mark.parametrize("command", [[], ["files"]], ids=["replay FILE", "replay files FILE"])
def test_a_file_is_sent_whole(tmp_path: Path, collector: TinyCollector, url: str, command: list[str]) -> None:
    result = run(*command, events_file(tmp_path, 4_500), "--url", url, "--json")
    assert result.exit_code == 0, result.output
    found = summary(result)
    assert (found["sent"], found["accepted"], found["rejected"], found["error"]) == (4_500, 4_500, 0, None)
    assert list(collector.events) == [f"e{n}" for n in range(4_500)]
    assert collector.requests == 3


def test_options_may_come_before_the_file(tmp_path: Path, collector: TinyCollector, url: str) -> None:
    path = tmp_path / "events.gz"
    path.write_bytes(gzip.compress(events_file(tmp_path, 3).read_bytes()))
    assert run("--format", "ndjson", "--url", url, path).exit_code == 0
    assert len(collector.events) == 3


def test_refused_and_bad_lines_are_counted_and_shown_and_the_rest_goes_through(
    tmp_path: Path, collector: TinyCollector, url: str
) -> None:
    path = events_file(tmp_path, 2)
    path.write_text(path.read_text() + '{"ts": 1700000000000, "campaign_id": "x"}\n{"broken\n')
    result = run(path, "--url", url, "--json", "--campaign-prefix", "p-")
    assert result.exit_code == 0
    found = summary(result)
    assert (found["accepted"], found["rejected"], found["bad_lines"]) == (2, 1, 1)
    assert f"{path}:4: is not JSON" in result.stderr
    assert "event_id missing_field" in result.stderr
    assert {event["campaign_id"] for event in collector.events.values()} == {"p-c"}


def test_a_file_of_which_nothing_is_accepted_is_a_failure(tmp_path: Path, url: str) -> None:
    path = tmp_path / "none.ndjson"
    path.write_text('{"ts": 1}\n')
    assert run(path, "--url", url).exit_code == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_collector_that_cannot_take_events_now_is_asked_again(
    tmp_path: Path, collector: TinyCollector, url: str, status: int
) -> None:
    collector.answers = [(status, {}), (status, {"retry-after": "1"})]
    began = time.monotonic()
    found = summary(run(events_file(tmp_path, 2), "--url", url, "--json"))
    assert (found["accepted"], found["retries"]) == (2, 2)
    assert time.monotonic() - began >= 1.0


def test_events_wait_for_a_collector_that_is_not_there_yet(collector: TinyCollector) -> None:
    (port,) = free_ports(1)
    said = threading.Event()
    with ExitStack() as stack, httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        sender = Sender(client, patience_s=20.0, say=lambda _: said.set())
        thread = threading.Thread(target=sender.send, args=([b'{"event_id":"e"}'],))
        thread.start()
        assert said.wait(10)
        stack.enter_context(served(collector.app, port=port))
        thread.join(20)
        assert list(collector.events) == ["e"]


def test_a_collector_that_never_comes_is_a_clear_error(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    result = run(events_file(tmp_path, 1), "--url", f"http://127.0.0.1:{port}", "--patience", "0.2", "--json")
    assert result.exit_code == 1
    assert f"cannot reach http://127.0.0.1:{port}" in summary(result)["error"]


def test_a_request_that_is_too_large_is_sent_in_halves(tmp_path: Path, collector: TinyCollector, url: str) -> None:
    collector.lines_max = 300
    assert summary(run(events_file(tmp_path, 1_000), "--url", url, "--json"))["accepted"] == 1_000
    assert len(collector.events) == 1_000


def test_the_key_is_sent_and_a_wrong_one_ends_the_replay(tmp_path: Path, collector: TinyCollector, url: str) -> None:
    collector.key = "secret"
    path = events_file(tmp_path, 1)
    assert run(path, "--url", url, "--api-key", "secret").exit_code == 0
    wrong = run(path, "--url", url, "--api-key", "guess", "--json")
    assert wrong.exit_code == 1
    assert "401: no valid API key" in summary(wrong)["error"]
    with httpx.Client(base_url=url) as client, pytest.raises(RefusedError, match="401"):
        Sender(client, patience_s=1.0, say=pytest.fail).send([b"{}"])


def test_times_can_be_moved_to_now(tmp_path: Path, collector: TinyCollector, url: str) -> None:
    before_ms = time.time_ns() // 1_000_000
    assert run(events_file(tmp_path, 5_000), "--url", url, "--shift-to-now").exit_code == 0
    times = sorted(event["ts"] for event in collector.events.values())
    assert before_ms <= times[-1] <= time.time_ns() // 1_000_000
    assert times[-1] - times[0] == 4_999


def test_a_speed_that_is_none_is_told_before_anything_is_sent(
    tmp_path: Path, collector: TinyCollector, url: str
) -> None:
    result = run(events_file(tmp_path, 1), "--url", url, "--speed", "fast")
    assert result.exit_code == 2
    assert collector.requests == 0


def test_the_real_logs_reach_the_real_collector_to_the_micro(tmp_path: Path) -> None:
    files = [
        shared_data(f"ipinyou/raw/{name}")
        for name in ("imp.20131021.adv2821.limit1000.txt.gz", "clk.20131021.adv2821.txt")
    ]
    rows = [line.split("\t") for line in gzip.decompress(files[0].read_bytes()).decode().splitlines()]
    log = MemoryLog(partitions=2)
    store = ControlStore.open("", tmp_path)
    commits = GroupCommit(log)
    wiring = Wiring(log=log, sink=commits, store=store, now_ms=lambda: time.time_ns() // 1_000_000)
    with served(create_app(wiring)) as port:
        result = run(*files, "--format", "ipinyou", "--url", f"http://127.0.0.1:{port}", "--json")
    commits.close()
    store.close()
    assert summary(result)["accepted"] == 10_442, result.output
    events = [json.loads(record) for number in (0, 1) for record in log.records("events", number)]
    assert sum(event.get("cost_micros", 0) for event in events) == sum(10 * int(row[20]) for row in rows)
    assert [event["ts"] for event in events] == sorted(event["ts"] for event in events)
    assert len({event["event_id"] for event in events}) == 10_442


def auctions(url: str, *arguments: str, campaign: str = "2821", path: Path | None = None) -> Result:
    path = path or shared_data("ipinyou/auctions/2821.txt.gz")
    fixed = ["auctions", str(path), "--campaign", campaign, "--budget-micros", "1000000", "--url", url, "--json"]
    return run(*fixed, *arguments)


def test_the_campaign_bids_until_its_pause_and_overspends_no_more_than_was_in_flight(
    collector: TinyCollector, url: str
) -> None:
    collector.budget_micros, collector.bid_micros = 1_000_000, 800_000
    result = auctions(url, "--speed", "max", "--resume-wait", "0.1")
    assert result.exit_code == 0, result.output
    found = summary(result)
    assert (found["ended"], found["pauses"]) == ("paused", 1)
    assert found["spent_micros"] == collector.spent_micros >= 1_000_000
    # One step of 500 auctions at a bid of 80 fen per thousand is what can be in flight.
    assert found["overspend_micros"] == found["spent_micros"] - 1_000_000 < 500 * 800
    kinds = [event["type"] for event in collector.events.values()]
    assert (kinds.count("impression"), kinds.count("click")) == (found["impressions"], found["clicks"])
    assert max(event.get("cost_micros", 0) for event in collector.events.values()) <= 800


def test_a_resume_lets_the_auctions_go_on(tmp_path: Path, collector: TinyCollector, url: str) -> None:
    path = tmp_path / "auctions.txt"
    path.write_text("0 50 0.001\n" * 5_000)
    collector.budget_micros, collector.bid_micros = 100_000, 800_000

    def raise_budget() -> None:
        while collector.spent_micros < 100_000:
            time.sleep(0.005)
        collector.budget_micros = None

    raiser = threading.Thread(target=raise_budget)
    raiser.start()
    found = summary(auctions(url, "--speed", "max", "--resume-wait", "10", path=path))
    raiser.join()
    assert (found["ended"], found["auctions"], found["impressions"]) == ("file_ended", 5_000, 5_000)


def test_a_campaign_without_a_bid_needs_one_to_be_named(collector: TinyCollector, url: str) -> None:
    refused = auctions(url)
    assert refused.exit_code == 1
    assert "--bid-micros" in summary(refused)["error"]
    collector.budget_micros = 50_000
    assert summary(auctions(url, "--bid-micros", "500000", "--speed", "max", "--resume-wait", "0"))["impressions"] > 0


def test_an_unknown_campaign_is_a_clear_error(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.replay_auctions._KNOWN_S", 0.1)
    refused = auctions(url, campaign="nobody")
    assert refused.exit_code == 1
    assert "penstock campaign put" in summary(refused)["error"]


def test_auctions_come_at_their_rate(collector: TinyCollector, url: str) -> None:
    collector.budget_micros, collector.bid_micros = 20_000, 800_000
    found = summary(auctions(url, "--rate", "500", "--speed", "2x", "--resume-wait", "0"))
    assert found["auctions"] <= 1_000 * (found["seconds"] + 0.1)
