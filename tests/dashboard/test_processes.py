"""The system page names every process with its state and, when it is not well, the reason."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from schemas import topics
from schemas.live import LoopStatus, ProcessStatus, encode_live
from tests.dashboard.conftest import Site, now_ms


def report(process: str, *loops: LoopStatus, beat: int = 1) -> bytes:
    status = ProcessStatus(
        now_ms=now_ms(), process=process, host="m1", pid=7, started_ms=now_ms() - 3_600_000, beat=beat,
        state="running", progress=1_234, loops=list(loops),
    )  # fmt: skip
    return encode_live(status)


def test_a_stuck_process_is_shown_with_its_reason(page: Page, site: Site) -> None:
    stuck = LoopStatus(name="dataflow", waiting=40, quiet_s=31.0)
    site.log.append(topics.LIVE, 0, [report("store"), report("flow", stuck)])
    page.get_by_role("link", name="System").click()
    table = page.get_by_role("region", name="Processes")
    flow = table.get_by_role("row", name=re.compile("flow m1"))
    expect(flow).to_contain_text("its dataflow loop has not moved for 31 s though 40 wait")
    expect(flow).to_contain_text("stuck")
    expect(table.get_by_role("row", name=re.compile("store m1 ok 1,234"))).to_be_visible()
    expect(page.get_by_role("heading", name="Processes (1 in trouble)")).to_be_visible()
    site.log.append(topics.LIVE, 0, [report("flow", beat=2)])
    expect(flow).to_contain_text("ok")
    expect(page.get_by_role("heading", name="Processes", exact=True)).to_be_visible()
