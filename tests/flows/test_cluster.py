"""A cluster of the flow's processes, each a real one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import flow_runs
from tests.support.flow_child import FlowSpec
from tests.support.flow_kills import STEP_DEADLINE_S

EVENTS_TOTAL = 2_000

pytestmark = pytest.mark.slow


def test_the_very_first_start_of_a_cluster_is_its_only_one(tmp_path: Path) -> None:
    """Three members find no recovery store and make one at once; none of them may end over it."""
    spec = FlowSpec(root=str(tmp_path), partitions=3, processes=3, shards=6, until_end=True)
    log = spec.open_log()
    flow_runs.define_all(log, 1_000_000)
    flow_runs.fill(log, flow_runs.event_lines(EVENTS_TOTAL, 1))
    ran = subprocess.run(spec.command(), capture_output=True, text=True, timeout=STEP_DEADLINE_S)
    assert ran.returncode == 0, ran.stderr
    assert "start again" not in ran.stderr
    duplicates, dead = flow_runs.judged(log)
    assert duplicates
    assert len(dead) == len(flow_runs.dead_letter_ids(log)) > 0
    log.close()
