"""Readiness names every part that is expected here: a flow that hangs is not hidden behind an api that answers."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from api.asked import Asked
from api.clickhouse import ClickHouseHistory
from api.parts import Parts, ready_parts
from schemas import topics
from schemas.health import State
from schemas.live import Ending, LoopStatus, ProcessStatus, encode_live
from storage import run_folder
from tests.api.conftest import NOW_MS, Api, Apis
from tests.support.until import until

ALL = frozenset({"log", "control", "serving", "flow", "store"})


def status(process: str, host: str = "elsewhere", **changed: Any) -> ProcessStatus:
    fields = {"now_ms": NOW_MS, "host": host, "pid": os.getpid(), "started_ms": NOW_MS - 3_600_000, "beat": 1}
    return ProcessStatus(process=process, **{**fields, "state": "running", **changed})


def tell(api: Api, *statuses: ProcessStatus) -> None:
    api.log.append(topics.LIVE, 0, [encode_live(each) for each in statuses])


async def test_a_flow_that_never_reported_is_named(apis: Apis) -> None:
    api = apis.start(ready_parts=ALL)
    tell(api, status("store"))
    await until(lambda: api.client.get("/readyz").json()["parts"]["store"] == "ok")
    answer = api.client.get("/readyz")
    assert answer.status_code == 503
    assert "penstock flow" in answer.json()["parts"]["flow"]
    # A load balancer of collectors asks for what they need.
    await until(lambda: api.client.get("/readyz?parts=log,control,serving").status_code == 200)
    assert api.client.get("/readyz?parts=lg").status_code == 422


async def test_a_stuck_flow_elsewhere_is_told_with_its_reason(apis: Apis) -> None:
    api = apis.start(ready_parts=ALL)
    stuck = LoopStatus(name="dataflow", waiting=1_200, quiet_s=34.0)
    tell(api, status("store"), status("flow"))
    await until(lambda: api.client.get("/readyz").status_code == 200)
    tell(api, status("flow", beat=2, loops=[stuck]))
    await until(lambda: api.client.get("/readyz").status_code == 503)
    assert api.client.get("/readyz").json()["parts"]["flow"] == (
        "stuck: its dataflow loop has not moved for 34 s though 1200 wait"
    )
    rows = api.client.get("/api/v1/processes").json()["processes"]
    assert [(row["process"], row["state"]) for row in rows] == [("flow", "stuck"), ("store", "ok")]


def test_a_process_that_reports_no_more_is_silent() -> None:
    clock = [0.0]
    parts = Parts(clock_s=lambda: clock[0], host="here")
    parts.take(status("flow"))
    clock[0] = 10.0
    assert parts.said({"flow"})["flow"] == "ok"
    clock[0] = 30.0
    assert "has not reported for 30 s" in parts.said({"flow"})["flow"]
    # The same report once more, as a reader that starts over sees it, is no sign of life.
    parts.take(status("flow"))
    assert "silent" in parts.said({"flow"})["flow"]


def test_of_two_replicas_one_must_be_well_and_of_a_cluster_all() -> None:
    clock = [0.0]
    parts = Parts(clock_s=lambda: clock[0], host="here")
    parts.take(status("store", "a"))
    parts.take(status("flow-0", "a"))
    parts.take(status("flow-1", "a"))
    clock[0] = 30.0
    parts.take(status("store", "b"))
    parts.take(status("flow-0", "a", beat=2))
    said = parts.said({"flow", "store"})
    assert said["store"] == "ok"
    assert said["flow"].startswith("silent")
    # What a deployment took away is forgotten, as long as another does the work.
    clock[0] = 30.0 + 700.0
    parts.take(status("flow-0", "a", beat=3))
    assert parts.said({"flow"})["flow"] == "ok"


def test_a_process_of_this_machine_that_is_gone_has_ended(tmp_path: Path) -> None:
    here = socket.gethostname()
    gone = status("flow", here, pid=2**22 - 1)
    run_folder.write(tmp_path, gone)
    parts = Parts(lambda: run_folder.read_all(tmp_path), host=here)
    assert parts.said({"flow"})["flow"].startswith("ended: ended without a word")
    endings = [Ending(at_ms=NOW_MS, reason="ValueError: its state belongs to another log")] * 3
    run_folder.write(tmp_path, status("flow", here, state="ended", endings=endings, started_ms=NOW_MS))
    assert "another log" in parts.said({"flow"})["flow"]
    assert parts.instances()[0].verdict.state == State.CRASHING


def test_parts_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="'flwo' is no part"):
        ready_parts("log,flwo")


class Hanging:
    """A ClickHouse that takes connections and never says a word."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://default@127.0.0.1:{self._socket.getsockname()[1]}/penstock"
        self._taken: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        try:
            while True:
                self._taken.append(self._socket.accept()[0])
        except OSError:
            return

    def close(self) -> None:
        self._socket.close()
        for taken in self._taken:
            taken.close()


async def test_a_hundred_questions_to_a_hanging_clickhouse_hold_nobody_else_up(
    apis: Apis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.app.Asked", partial(Asked, answer_s=4.0))
    hanging = Hanging()
    history = ClickHouseHistory(hanging.url, timeout_s=20.0)
    api = apis.start(kpis=history, archive=history)
    body = b'{"event_id":"%d","type":"click","ts":%d,"campaign_id":"shoes","extra":{"pad":"' % (1, NOW_MS)
    big = body + b"x" * 100_000 + b'"}}'
    try:
        began = time.monotonic()
        own = ThreadPoolExecutor(100)
        loop = asyncio.get_running_loop()
        ask = partial(api.client.get, "/api/v1/campaigns/shoes/kpis")
        answers = asyncio.gather(*(loop.run_in_executor(own, ask) for _ in range(100)))
        await asyncio.sleep(0.5)
        took: list[float] = []
        while not answers.done():
            sent = time.monotonic()
            # Large bodies are decoded in a thread, which questions must not have taken.
            assert (await asyncio.to_thread(api.post, big)).status_code in (202, 400, 413)
            took.append(time.monotonic() - sent)
        said = [(answer.status_code, answer.json()["type"].rsplit(":")[-1]) for answer in await answers]
        assert time.monotonic() - began < 90.0
        assert set(said) <= {(503, "clickhouse_busy"), (504, "clickhouse_slow")}
        assert (504, "clickhouse_slow") in said
        assert max(took) < 15.0
        await until(lambda: "hangs" in api.client.app.state.parts.said({"clickhouse"})["clickhouse"])  # type: ignore[attr-defined]
    finally:
        hanging.close()
