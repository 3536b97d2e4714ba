from __future__ import annotations

import csv
import json
from collections import defaultdict
from datetime import datetime
from pathlib import Path

from typer.testing import CliRunner

from benchmarks.event_files import Market, event_lines, write_event_file
from benchmarks.kpi import HEADER
from cli.main import app

KINDS = {"impression": 0, "click": 1, "conversion": 2}


def naive_windows(path: Path, window_ms: int) -> list[list[str]]:
    """The windows as a loop over json.loads has them."""
    windows: defaultdict[tuple[str, int], list[int]] = defaultdict(lambda: [0] * 5)
    for line in path.read_bytes().splitlines():
        event = json.loads(line)
        ts = event["ts"]
        ts_ms = ts if isinstance(ts, int) else round(datetime.fromisoformat(ts).timestamp() * 1_000)
        if not event.get("campaign_id"):
            continue
        sums = windows[event["campaign_id"], ts_ms // window_ms * window_ms]
        if event["type"] in KINDS:
            sums[KINDS[event["type"]]] += 1
        sums[3] += event.get("cost_micros", 0)
        sums[4] += event.get("revenue_micros", 0)
    return [[str(value) for value in (*key, *windows[key])] for key in sorted(windows)]


def run(*arguments: str) -> dict[str, float]:
    result = CliRunner().invoke(app, ["bench", *arguments])
    assert result.exit_code == 0, result.output
    found: dict[str, float] = json.loads(result.output)
    return found


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_windows_of_a_generated_file_equal_those_of_a_naive_loop(tmp_path: Path) -> None:
    market = Market(leads_per_mille=5, duplicates_per_mille=15, events_per_second=200)
    write_event_file(tmp_path / "events.ndjson", 20_000, 3, market)
    found = run("kpi", str(tmp_path / "events.ndjson"), "--out", str(tmp_path / "windows.csv"))
    assert found["events"] == 20_000
    # The engine reads the same file on the same core, before and after.
    assert found["of_limit"] == round(found["events_per_second"] / found["limit_events_per_second"], 3)
    assert "rejected" not in found
    assert found["peak_rss_bytes"] > 10_000_000
    assert rows_of(tmp_path / "windows.csv") == [
        list(HEADER),
        *naive_windows(tmp_path / "events.ndjson", 10_000),
    ]


def test_every_spelling_of_an_event_counts_and_organisations_share_a_campaigns_windows(tmp_path: Path) -> None:
    lines = [
        '{"event_id":"a","type":"impression","ts":"2026-01-31T09:00:09.999+01:00","campaign_id":"c,1","cost_micros":3}',
        '{"event_id":"b","type":"click","ts":1769846400000,"campaign_id":"c,1","org_id":"acme","cost_micros":4}',
        '{ "event_id" : "c", "type" : "conversion", "ts" : 1769846409999, "campaign_id" : "c\\u002c1", '
        '"org_id" : "other", "revenue_micros" : 1000000000000 }',
        '{"event_id":"d","type":"lead","ts":1769846410000,"campaign_id":"é","cost_micros":9,"lead":{"email":"x@y.z"}}',
        '{"event_id":"e","type":"lead","ts":1769846410000}',
    ]
    path = tmp_path / "events.ndjson"
    path.write_text("\n".join(lines), encoding="utf-8")
    found = run("kpi", str(path), "--out", str(tmp_path / "windows.csv"), "--no-limit")
    assert found["events"] == 5
    rows = rows_of(tmp_path / "windows.csv")[1:]
    assert rows == naive_windows(path, 10_000)
    assert rows == [
        ["c,1", "1769846400000", "1", "1", "1", "7", "1000000000000"],
        ["é", "1769846410000", "0", "0", "0", "9", "0"],
    ]


def test_refused_lines_are_counted_and_windows_may_have_any_length(tmp_path: Path) -> None:
    write_event_file(tmp_path / "events.ndjson", 2_000, 5)
    with (tmp_path / "events.ndjson").open("a", encoding="utf-8") as file:
        file.write("{}\n\nnot json\n")
    arguments = (str(tmp_path / "events.ndjson"), "--out", str(tmp_path / "windows.csv"), "--window-ms", "250")
    found = run("kpi", *arguments, "--no-limit")
    assert (found["events"], found["rejected"]) == (2_000, 2)
    (tmp_path / "valid.ndjson").write_bytes(
        b"".join((tmp_path / "events.ndjson").read_bytes().splitlines(True)[:2_000])
    )
    assert rows_of(tmp_path / "windows.csv")[1:] == naive_windows(tmp_path / "valid.ndjson", 250)


def test_more_windows_than_there_was_room_for_are_all_kept(tmp_path: Path) -> None:
    event = '{{"event_id":"e{n}","type":"click","ts":{ts},"campaign_id":"c{campaign}","cost_micros":{n}}}'
    lines = [event.format(n=n, ts=1_769_846_400_000 + 10_000 * n, campaign=n % 7) for n in range(20_000)]
    (tmp_path / "events.ndjson").write_text("\n".join(lines) + "\n", encoding="ascii")
    run("kpi", str(tmp_path / "events.ndjson"), "--out", str(tmp_path / "windows.csv"), "--no-limit")
    assert rows_of(tmp_path / "windows.csv")[1:] == naive_windows(tmp_path / "events.ndjson", 10_000)


def test_the_same_seed_writes_the_same_file_and_another_another(tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        result = CliRunner().invoke(app, ["bench", "generate", str(tmp_path / name), "--events", "500", "--seed", seed])
        assert result.exit_code == 0, result.output
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c
    assert a.count(b"\n") == 500
    assert 250 < len(a) / 500 < 290


def test_generated_clicks_name_impressions_and_some_lines_come_twice() -> None:
    (lines,) = event_lines(50_000, 11, Market(duplicates_per_mille=15))
    events = [json.loads(line) for line in lines]
    impressions = {event["event_id"] for event in events if event["type"] == "impression"}
    clicks = [event for event in events if event["type"] == "click"]
    known = sum(click.get("impression_id") in impressions for click in clicks)
    assert 800 < len(clicks) < 1_200
    assert known > 0.95 * len(clicks)
    assert 0.010 < 1 - len({event["event_id"] for event in events}) / len(events) < 0.020
