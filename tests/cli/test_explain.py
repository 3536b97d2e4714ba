"""`penstock explain`: a decision found in the log, in words or as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from ingest.local_log import LocalLog
from schemas.decisions import Decision, encode_decision
from schemas.topics import DECISIONS
from tests.support.decisions import decision_of


def decision(decision_id: str, **changes: Any) -> Decision:
    fields: dict[str, Any] = {
        "decision_id": decision_id, "org_id": "default", "campaign_id": "shoes", "kind": "set_bid",
        "reason": "pacing_behind", "ts_ms": 1_770_000_000_000, "effective_ms": 1_770_000_000_000,
        "before": {"bid_micros": 1_000_000}, "after": {"bid_micros": 1_250_000},
        "inputs": {"spent_day_micros": 40_000_000, "clicks": 60_000},
        "policy": "bidding/1",
        "undo": {"kind": "set_bid", "after": {"bid_micros": 1_000_000}},
    }  # fmt: skip
    return decision_of(**fields | changes)


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalLog:
    monkeypatch.setenv("PENSTOCK_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("PENSTOCK_KAFKA", raising=False)
    monkeypatch.delenv("PENSTOCK_PARTITIONS", raising=False)
    made = LocalLog(tmp_path / "log", partitions=2, fsync=False)
    several = [decision(f"{n:04x}ff", inputs={"undone": "beef01"}) for n in range(2_000)]
    told = [decision("beef01"), decision("beef02", org_id="acme"), decision("beef01")]
    made.append(DECISIONS, 0, [encode_decision(d) for d in [*several, *told]])
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["explain", *arguments])


def test_a_decision_is_told_with_its_reason_numbers_and_undo() -> None:
    told = run("beef01").stdout
    assert told.startswith("Changed the bid of campaign shoes: spend runs behind the plan")
    assert "bid_micros: 1.00 -> 1.25" in told
    assert "spent_day_micros 40.00" in told
    assert "clicks 60,000" in told
    assert "to undo: set_bid with bid_micros 1.00" in told


def test_as_json_it_is_the_decision_itself() -> None:
    assert json.loads(run("beef01", "--json").stdout)["after"] == {"bid_micros": 1_250_000}


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["beef0"], 1, "several decisions begin with 'beef0': beef01, beef02"),
        (["beef0", "--org", "acme"], 0, ""),
        (["cafe"], 1, "there is no decision 'cafe'"),
        (["beef01", "--org", "acme"], 1, "there is no decision"),
    ],
    ids=["not_unique", "unique_in_its_organisation", "unknown", "of_another_organisation"],
)
def test_a_beginning_of_an_id_is_enough_where_it_is_unique(arguments: list[str], status: int, words: str) -> None:
    result = run(*arguments)
    assert result.exit_code == status
    assert words in result.stderr
