"""`penstock replay` of CSV and Parquet files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from tests.support.serve import served
from tests.support.tiny_collector import TinyCollector

TS_MS = 1_700_000_000_000
CSV = f"event_id,type,ts,campaign_id\ne1,click,{TS_MS + 1},shoes\ne2,click\ne3,click,{TS_MS},shoes\n"
MAPPING = """
[csv]
name = "Event"
fields = { campaign_id = "Campaign ID", event_id = "Id" }
time = { paths = "Time", unit = "s" }
money = { cost_micros = { paths = "Cost" } }
events = { view = { type = "impression" } }
"""


@pytest.fixture
def collector() -> TinyCollector:
    return TinyCollector()


@pytest.fixture
def url(collector: TinyCollector) -> Iterator[str]:
    with served(collector.app) as port:
        yield f"http://127.0.0.1:{port}"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["replay", *map(str, arguments), "--json"])


def summary(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("speed", ["max", "1000000x"], ids=["as_they_are", "by_time"])
def test_rows_of_a_csv_file_are_sent_and_a_bad_one_is_told(
    collector: TinyCollector, url: str, tmp_path: Path, speed: str
) -> None:
    path = tmp_path / "events.csv.gz"
    path.write_bytes(gzip.compress(CSV.encode()))
    result = run(path, "--url", url, "--speed", speed)
    assert (summary(result)["accepted"], summary(result)["bad_lines"]) == (2, 1)
    assert "events.csv.gz:2: has 2 cells, the header 4" in result.stderr
    order = ["e1", "e3"] if speed == "max" else ["e3", "e1"]
    assert list(collector.events) == order


def test_rows_of_a_parquet_file_are_sent(collector: TinyCollector, url: str, tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    table = {"event_id": ["e1", "e2"], "type": ["click"] * 2, "ts": [TS_MS] * 2, "campaign_id": ["shoes"] * 2}
    pq.write_table(pa.table(table), path)
    assert summary(run(path, "--url", url))["accepted"] == 2
    assert [event["ts"] for event in collector.events.values()] == [TS_MS, TS_MS]


def test_columns_with_other_names_are_mapped(collector: TinyCollector, url: str, tmp_path: Path) -> None:
    path, mapping = tmp_path / "ads.csv", tmp_path / "mapping.toml"
    path.write_text("Id,Event,Time,Campaign ID,Cost\n1,view,1700000000,shoes,0.001\n2,scroll,1700000000,shoes,\n")
    mapping.write_text(MAPPING)
    result = run(path, "--url", url, "--mapping", mapping)
    assert (summary(result)["accepted"], summary(result)["ignored"]) == (1, 1)
    (event,) = collector.events.values()
    assert event == {
        "event_id": "1", "type": "impression", "ts": TS_MS, "campaign_id": "shoes", "cost_micros": 1_000,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["events.csv", "events.parquet"])
def test_a_table_that_is_none_is_told_in_one_line(url: str, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("what is this")
    result = run(path, "--url", url)
    assert (result.exit_code, summary(result)["bad_lines"]) == (1, 1)
    assert f"{name}:1: The" in result.stderr


def test_a_mapping_that_is_wrong_is_told_before_anything_is_sent(url: str, tmp_path: Path) -> None:
    path, mapping = tmp_path / "ads.csv", tmp_path / "mapping.toml"
    path.write_text(CSV)
    mapping.write_text("[csv]\nnme = 1\n")
    result = run(path, "--url", url, "--mapping", mapping)
    assert result.exit_code == 2
    assert "csv.nme" in result.stderr
