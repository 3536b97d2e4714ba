"""`penstock state`: what the state holds, and another number of shards for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from flows.instance_lock import InstanceLock
from ingest.local_log import LocalLog
from tests.support import flow_runs

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalLog:
    monkeypatch.setenv("PENSTOCK_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("PENSTOCK_KAFKA", raising=False)
    monkeypatch.setenv("PENSTOCK_PARTITIONS", "2")
    monkeypatch.setenv("PENSTOCK_SHARDS", "1")
    monkeypatch.setenv("PENSTOCK_DEDUPE_IDS", "4096")
    monkeypatch.setattr("flows.instance_lock.WAIT_S", 0.0)
    return LocalLog(tmp_path / "log", partitions=2, fsync=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_a_state_is_shown_and_resharded_and_the_flow_says_what_to_set(
    log: LocalLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow_runs.fill(log, flow_runs.event_lines(500, 3))
    assert run("flow", "--until-end").exit_code == 0
    before = json.loads(run("state", "show", "--json").stdout)
    [[_, campaigns, _, series, _, ids, *_]] = before["of_shards"]
    assert (before["shards"], before["partitions"], campaigns) == (1, 2, flow_runs.CAMPAIGNS)
    done = run("state", "reshard", "--shards", "3")
    assert done.exit_code == 0, done.output
    assert "PENSTOCK_SHARDS=3" in done.stdout
    refused = run("flow", "--until-end")
    assert refused.exit_code == 2
    assert "penstock state reshard --shards 1" in refused.output
    monkeypatch.setenv("PENSTOCK_SHARDS", "3")
    assert run("flow", "--until-end").exit_code == 0
    after = json.loads(run("state", "show", "--json").stdout)
    shards = after["of_shards"]
    assert (len(shards), sum(one[1] for one in shards), sum(one[3] for one in shards)) == (3, campaigns, series)
    assert [one[5] for one in shards] == [ids] * 3
    lines = run("state", "show").stdout.splitlines()
    assert len(lines) == 1 + 2 + 3
    assert "3 shard(s), 2 partition(s)" in lines[0]


def test_while_a_flow_works_on_it_the_state_is_left_alone(log: LocalLog, tmp_path: Path) -> None:
    with InstanceLock(tmp_path):
        refused = run("state", "reshard", "--shards", "2")
    assert refused.exit_code == 2
    assert "another flow" in refused.output


def test_where_there_is_no_state_that_is_said(log: LocalLog) -> None:
    refused = run("state", "show")
    assert refused.exit_code == 2
    assert "there is no state in" in refused.output
