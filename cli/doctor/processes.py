"""Every process of this machine by its last report: its state, its progress, its reason."""

from __future__ import annotations

import socket

from cli.doctor.finding import Finding
from cli.settings import Settings
from schemas.health import State, judge
from schemas.live import ProcessStatus
from storage.run_folder import as_seen_here, is_halted, read_all, run_folder

_MEND = {
    State.WAITING: "mend what it waits for; it goes on by itself",
    State.STUCK: "start it again (`penstock up` does so by itself), and keep its log",
    State.SILENT: "let it go on (kill -CONT), or start it again; `penstock up` does so by itself",
    State.CRASHING: "mend the reason, which is the last line of its log",
    State.ENDED: "see the last lines of its log, then start it again",
    State.STARTING: "wait a moment",
}


def check_processes(settings: Settings) -> list[Finding]:
    """A row for each process that has ever reported here; those that were asked to end are no trouble."""
    return [_finding(status, age_s) for status, age_s in read_all(run_folder(settings.data_dir))]


def _finding(status: ProcessStatus, age_s: float) -> Finding:
    host = socket.gethostname()
    here = status.host == host
    stopped = here and status.state == "running" and is_halted(status.pid)
    verdict = judge(as_seen_here(status, host), age_s, stopped=stopped)
    work = f"{status.progress:,} done, {status.waiting:,} waiting"
    seen = f"{verdict.state}, {work}" + (f": {verdict.reason}" if verdict.reason else "")
    fine = verdict.fine or verdict.state in (State.STOPPED, State.STARTING)
    return Finding(f"process {status.process}", fine, seen, "" if fine else _MEND.get(verdict.state, ""))
