"""The protocol seen from a browser: a real server, a real WebSocket."""

from __future__ import annotations

import asyncio
import socket
import time
import tracemalloc

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from schemas import topics
from tests.api.live.conftest import Site, Viewer, site_of
from tests.support.live_feed import feed, flow_status, live_row, pause, store_status, verification
from tests.support.memory_log import MemoryLog
from tests.support.until import until

NOW_MS = 1_760_000_000_000


async def test_the_first_frame_is_configuration_and_what_the_log_holds(log: MemoryLog) -> None:
    feed(log, live_row("c1", 1_000, NOW_MS), live_row("c1", 2_500, NOW_MS), pause("c1", NOW_MS), flow_status(NOW_MS))
    with site_of(log) as site:
        async with site.viewer() as viewer:
            frame = await viewer.take()
    config = frame["config"]
    assert frame["type"] == "snapshot"
    assert (config["server_version"], config["heartbeat_ms"], config["frames_per_s"]) == ("9.9.9", 5_000, 20)
    assert {chart["id"] for chart in config["charts"]} >= {"spend", "ctr", "cpa"}
    row = viewer.rows["c1"]
    assert dict(zip(config["counters"], row["today"], strict=True))["spend_micros"] == 12_500_000
    assert row["spark"][1][-1] > 0
    assert viewer.decisions[0]["reason"] == "daily_budget_reached"
    assert frame["flow"][0]["events_per_second"] == 812.0


async def test_a_change_after_quiet_arrives_at_once(site: Site) -> None:
    delays = []
    async with site.viewer() as viewer:
        await viewer.take()
        for impressions in range(11):
            # Quiet for longer than the gap between two frames.
            await asyncio.sleep(0.12)
            began = time.monotonic()
            feed(site.log, live_row("c1", 1_000 + impressions, NOW_MS))
            await viewer.until(lambda: viewer.rows.get("c1"))
            delays.append(time.monotonic() - began)
            viewer.rows.clear()
    # The median: a busy machine delays some, a wait for the next tenth of a second would delay all.
    assert sorted(delays)[len(delays) // 2] < 0.1


async def test_a_burst_becomes_at_most_twenty_frames_a_second_and_ends_in_the_last_state(site: Site) -> None:
    async with site.viewer() as viewer:
        await viewer.take()
        taking = asyncio.create_task(viewer.until(lambda: viewer.rows.get("c1", {}).get("version") == 300))
        for version in range(1, 301):
            feed(site.log, live_row("c1", version, NOW_MS, version=version))
            await asyncio.sleep(0.005)
        await taking
    deltas = [at for kind, at in viewer.frames if kind == "delta"]
    assert len(deltas) >= 3
    for at in deltas:
        assert sum(at <= other < at + 1 for other in deltas) <= 20


async def test_a_subscription_names_the_campaigns_that_are_sent(site: Site) -> None:
    feed(site.log, live_row("c1", 1, NOW_MS), live_row("c2", 1, NOW_MS))
    async with site.viewer() as viewer:
        await viewer.until(lambda: len(viewer.rows) == 2)
        await viewer.say(type="subscribe", campaigns=["c2"])
        await viewer.until(lambda: list(viewer.rows) == ["c2"])
        feed(site.log, live_row("c1", 2, NOW_MS, version=2), pause("c1", NOW_MS))
        feed(site.log, live_row("c2", 2, NOW_MS, version=2))
        await viewer.until(lambda: viewer.rows["c2"]["version"] == 2)
        assert list(viewer.rows) == ["c2"]
        assert viewer.decisions == []
        await viewer.say(type="subscribe", campaigns="all")
        await viewer.until(lambda: len(viewer.rows) == 2)


async def test_a_paused_viewer_gets_nothing_and_then_everything_that_changed(site: Site) -> None:
    feed(site.log, live_row("c1", 1, NOW_MS))
    async with site.viewer() as viewer:
        await viewer.until(lambda: viewer.rows)
        await viewer.say(type="pause")
        await viewer.say(type="ping")
        await viewer.until(lambda: "pong" in viewer.last)
        feed(site.log, live_row("c1", 2, NOW_MS, version=2), pause("c1", NOW_MS))
        await until(lambda: site.hub.board.seq >= 3)
        await viewer.say(type="detail", campaign_id="c1")
        await viewer.until(lambda: "detail" in viewer.last)
        assert "delta" not in viewer.last
        await viewer.say(type="resume")
        await viewer.until(lambda: viewer.rows["c1"]["version"] == 2 and viewer.decisions)


async def test_a_detail_has_the_points_and_decisions_of_one_campaign(site: Site) -> None:
    for step in range(4):
        feed(site.log, live_row("c1", 1_000 + step, NOW_MS + step * 10_000))
    feed(site.log, pause("c1", NOW_MS), pause("c2", NOW_MS))
    async with site.viewer() as viewer:
        await viewer.until(lambda: len(viewer.decisions) == 2)
        await viewer.say(type="detail", campaign_id="c1")
        await viewer.until(lambda: "detail" in viewer.last)
    detail = viewer.last["detail"]
    assert detail["known"]
    assert [point[0] for point in detail["points"]] == [NOW_MS + step * 10_000 for step in range(-1, 4)]
    assert [decision["campaign_id"] for decision in detail["decisions"]] == ["c1"]


async def test_a_lost_connection_resumes_with_what_changed_meanwhile(site: Site) -> None:
    feed(site.log, live_row("c1", 1, NOW_MS), live_row("c2", 1, NOW_MS), pause("c1", NOW_MS))
    async with site.viewer() as viewer:
        await viewer.until(lambda: len(viewer.rows) == 2 and viewer.decisions)
    feed(site.log, live_row("c2", 2, NOW_MS, version=2), pause("c2", NOW_MS))
    await until(lambda: site.hub.board.seq == viewer.seq + 2)
    async with site.viewer(f"?session={viewer.config['session']}&seq={viewer.seq}") as resumed:
        frame = await resumed.take()
    assert frame["resumed"]
    assert [row["id"] for row in frame["rows"]] == ["c2"]
    assert [decision["campaign_id"] for decision in frame["decisions"]] == ["c2"]


@pytest.mark.parametrize(
    "query",
    ["?session=of-another-server&seq=1", "?session={session}&seq=999999", "?session={session}&seq=-1"],
    ids=["another session", "a number from the future", "not a number"],
)
async def test_what_cannot_be_resumed_gets_a_snapshot(site: Site, query: str) -> None:
    feed(site.log, live_row("c1", 1, NOW_MS))
    async with site.viewer(query.format(session=site.hub.session)) as viewer:
        await viewer.until(lambda: viewer.rows)
    assert not viewer.last["snapshot"]["resumed"]


async def test_heartbeats_come_when_nothing_changes_and_a_silent_client_is_closed(log: MemoryLog) -> None:
    async def answer(viewer: Viewer) -> None:
        while True:
            if (await viewer.take())["type"] == "ping":
                await viewer.say(type="pong")

    with site_of(log, heartbeat_s=0.1) as site:
        async with site.viewer() as answering, site.viewer() as silent:
            answers = asyncio.create_task(answer(answering))
            with pytest.raises(ConnectionClosed):
                await silent.until(lambda: False)
            assert not answers.done()
            answers.cancel()
    assert silent.last["ping"]["sent_ms"] > 0
    assert silent.socket.close_code == 4408


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", 4400),
        ('{"type":"dance"}', 4400),
        ('{"type":"subscribe","campaigns":["' + "x" * 70_000 + '"]}', 4400),
        ('{"type":"subscribe","campaigns":[' + ",".join(['"c"'] * 1_001) + "]}", 4400),
    ],
    ids=["not JSON", "unknown type", "too long", "too many campaigns"],
)
async def test_a_message_outside_the_protocol_ends_the_connection(site: Site, message: str, code: int) -> None:
    async with site.viewer() as viewer:
        await viewer.take()
        await viewer.socket.send(message)
        with pytest.raises(ConnectionClosed):
            await viewer.until(lambda: False)
    assert viewer.socket.close_code == code


async def test_a_client_that_talks_without_end_is_closed(site: Site) -> None:
    async with site.viewer() as viewer:
        await asyncio.gather(*(viewer.say(type="pong") for _ in range(60)))
        with pytest.raises(ConnectionClosed):
            await viewer.until(lambda: False)
    assert viewer.socket.close_code == 4429


async def test_a_client_that_takes_nothing_is_dropped(log: MemoryLog) -> None:
    feed(log, *(live_row(f"c{number}", 1, NOW_MS, name="x" * 4_000) for number in range(3_000)))
    with site_of(log, write_timeout_s=0.3) as site:
        deaf = socket.create_connection(("127.0.0.1", site.port))
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        handshake = "GET /api/v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        deaf.sendall(
            f"{handshake}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        await until(lambda: site.hub.clients == 1)
        await until(lambda: site.hub.clients == 0, 60)
        deaf.close()
        # Nobody else is: the next one gets what is there.
        async with site.viewer() as viewer:
            await viewer.until(lambda: viewer.rows, 60)
            assert site.hub.clients == 1


async def test_one_client_more_than_the_limit_is_told_to_come_later(log: MemoryLog) -> None:
    with site_of(log, clients_max=1) as site:
        async with site.viewer() as first, site.viewer() as second:
            await first.take()
            with pytest.raises(ConnectionClosed):
                await second.take()
    assert second.socket.close_code == 4429


async def test_a_key_shows_only_its_own_organisation(log: MemoryLog) -> None:
    feed(log, live_row("mine", 1, NOW_MS, org_id="acme"), live_row("theirs", 1, NOW_MS, org_id="other"))
    with site_of(log, "secret:acme") as site:
        async with site.viewer(key="secret") as viewer:
            await viewer.take()
        async with site.viewer(key="wrong") as stranger:
            with pytest.raises(ConnectionClosed):
                await stranger.take()
    assert list(viewer.rows) == ["mine"]
    assert stranger.socket.close_code == 4401


async def test_a_page_of_another_site_may_not_connect(site: Site) -> None:
    with pytest.raises(InvalidStatus):
        async with site.viewer(additional_headers={"Origin": "https://evil.example"}):
            pass


async def test_a_record_that_cannot_be_read_does_not_stop_the_next(site: Site) -> None:
    site.log.append(topics.LIVE, 0, [b"not json", b'{"kind":"campaigns"}'])
    site.log.append(topics.DECISIONS, 0, [b"{}"], keys=["c1"])
    feed(site.log, live_row("c1", 1, NOW_MS), pause("c1", NOW_MS))
    async with site.viewer() as viewer:
        await viewer.until(lambda: viewer.rows and viewer.decisions)
        assert [*viewer.rows] == ["c1"]
        assert len(viewer.decisions) == 1


async def test_a_store_that_is_down_reaches_every_viewer(site: Site) -> None:
    async with site.viewer() as viewer:
        await viewer.take()
        feed(site.log, store_status(NOW_MS, "down", "connection refused", 120))
        await viewer.until(lambda: (viewer.last.get("delta") or {}).get("store"))
    assert viewer.last["delta"]["store"]["error"] == "connection refused"


async def test_the_newest_comparison_with_the_log_reaches_every_viewer(site: Site) -> None:
    async with site.viewer() as viewer:
        await viewer.take()
        feed(site.log, verification(NOW_MS, by="doctor", missing=7, repaired=7))
        # The store goes on saying its own, which is older.
        feed(site.log, store_status(NOW_MS + 1_000, verified=verification(NOW_MS - 60_000)))
        await viewer.until(lambda: (viewer.last.get("delta") or {}).get("store"))
        shown = viewer.last["delta"]["store"]["verification"]
        assert (shown["by"], shown["missing"], shown["at_ms"]) == ("doctor", 7, NOW_MS)


async def test_a_slow_viewer_of_a_thousand_campaigns_gets_the_last_state_in_bounded_memory(log: MemoryLog) -> None:
    # It is slow and not silent: on a loaded machine it takes longer than heartbeats that are missed.
    with site_of(log, heartbeat_s=60.0) as site:
        names = [f"c{number}" for number in range(1_000)]
        feed(site.log, *(live_row(name, 1, NOW_MS) for name in names))
        await until(lambda: site.hub.board.campaigns == 1_000)
        narrow = socket.create_connection(("127.0.0.1", site.port))
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        async with site.viewer(max_queue=1, compression=None, sock=narrow) as slow:
            await slow.until(lambda: len(slow.rows) == 1_000)
            frames_before = len(slow.frames)
            tracemalloc.start()
            before = 0
            for version in range(2, 18):
                feed(site.log, *(live_row(name, version, NOW_MS, version=version) for name in names))
                await until(lambda version=version: site.hub.board.seq >= version * 1_000, 60)
                if version == 9:
                    before = tracemalloc.get_traced_memory()[0] - site.log.end(topics.LIVE, 0)
            grown = tracemalloc.get_traced_memory()[0] - site.log.end(topics.LIVE, 0) - before
            tracemalloc.stop()
            await slow.until(lambda: all(row["version"] == 17 for row in slow.rows.values()), 60)
        # 16 times a thousand rows came in while it took nothing. What the system's socket buffers hold was on its way.
        assert len(slow.frames) - frames_before < 14
        # One frame of a thousand rows is about 0.9 MB.
        assert grown < 4_000_000
