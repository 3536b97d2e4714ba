"""Reports of progress: what is stuck, what only waits, what is idle, what is frozen, what falls over again."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.health import Gauge, Loop, Progress, State, judge
from schemas.live import Ending, LoopStatus, ProcessStatus, decode_live, encode_live


def report(*loops: LoopStatus, **changed: Any) -> ProcessStatus:
    fields = {"now_ms": 700_000, "process": "flow", "host": "h", "pid": 7, "started_ms": 0, "beat": 3}
    return ProcessStatus(**{**fields, "state": "running", "loops": list(loops), **changed})


def loop(**fields: Any) -> LoopStatus:
    return LoopStatus(**{"name": "source", **fields})


@pytest.mark.parametrize(
    ("status", "silent_s", "state", "words"),
    [
        pytest.param(report(loop()), 0.5, State.OK, "", id="it turns"),
        pytest.param(report(loop(done=5, waiting=0)), 0.5, State.OK, "", id="nothing to do is not stuck"),
        pytest.param(report(loop(quiet_s=40.0)), 0.5, State.STUCK, "source loop has not moved for 40 s", id="hangs"),
        pytest.param(
            report(loop(quiet_s=40.0, waiting=12)), 0.5, State.STUCK, "though 12 wait", id="does not touch its work"
        ),
        pytest.param(
            report(loop(quiet_s=900.0, waiting=12, blocked="ClickHouse: connection refused", blocked_s=900.0)),
            0.5, State.WAITING, "900 s for ClickHouse: connection refused", id="waits for another, however long",
        ),
        pytest.param(report(loop(blocked="the log", blocked_s=1.0)), 0.5, State.OK, "", id="a moment is not told"),
        pytest.param(report(loop()), 30.0, State.SILENT, "has not reported for 30 s", id="frozen"),
        pytest.param(report(state="starting", reason="loads its kernels", now_ms=90_000), 0.5, State.STARTING,
                     "kernels", id="a start takes its time"),
        pytest.param(report(state="starting", reason="loads its kernels"), 0.5, State.STUCK, "after 700 s",
                     id="a start that never ends"),
        pytest.param(report(state="stopped"), 9_999.0, State.STOPPED, "as asked", id="asked to end"),
        pytest.param(report(state="ended", reason="ValueError: no"), 9.0, State.ENDED, "ValueError: no", id="fell"),
        pytest.param(
            report(now_ms=30_000, endings=[Ending(at_ms=n, reason=f"reason {n}") for n in (1, 2, 3)]),
            0.5, State.CRASHING, "ended 3 times in ten minutes, last: reason 3", id="falls over again and again",
        ),
        pytest.param(
            report(endings=[Ending(at_ms=690_000, reason="x")] * 3), 0.5, State.OK, "", id="has settled since"
        ),
    ],
)  # fmt: skip
def test_a_report_is_judged_with_its_reason(status: ProcessStatus, silent_s: float, state: State, words: str) -> None:
    verdict = judge(status, silent_s)
    assert verdict.state == state
    assert words in verdict.reason


def test_a_halted_process_is_told_from_a_silent_one() -> None:
    assert "SIGSTOP" in judge(report(), 0.1, stopped=True).reason


def test_quiet_time_grows_only_while_a_loop_does_not_turn() -> None:
    gauge, one = Gauge(), Loop("one")
    loops = {"one": one}
    assert gauge.read(loops, 1.0)[0].quiet_s == 0.0
    assert gauge.read(loops, 1.0)[0].quiet_s == 1.0
    one.turn()
    assert gauge.read(loops, 1.0)[0].quiet_s == 0.0


def test_a_loop_that_turns_and_leaves_its_work_is_quiet() -> None:
    gauge, one = Gauge(), Loop("one")
    one.pending = lambda: 5
    for _ in range(4):
        one.turn()
        [read] = gauge.read({"one": one}, 1.0)
    assert (read.quiet_s, read.waiting) == (3.0, 5)
    one.did()
    assert gauge.read({"one": one}, 1.0)[0].quiet_s == 0.0


def test_a_loop_that_sleeps_without_work_is_never_quiet() -> None:
    gauge, one = Gauge(), Loop("one", idles=True)
    for _ in range(3):
        [read] = gauge.read({"one": one}, 1.0)
    assert read.quiet_s == 0.0


def test_of_several_who_wait_each_goes_on_by_itself() -> None:
    progress = Progress()
    one = progress.loop("one")
    one.waits_for("the log", "partition 0")
    one.waits_for("the log", "partition 1")
    one.goes_on("partition 0")
    assert progress.loop("one").blocked == "the log"
    one.goes_on("partition 1")
    assert one.blocked == ""


def test_a_report_goes_through_topic_live_unchanged() -> None:
    sent = report(loop(done=3, blocked="x"), endings=[Ending(at_ms=1, reason="y")])
    assert decode_live(encode_live(sent)) == sent
