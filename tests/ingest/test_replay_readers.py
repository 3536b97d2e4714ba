"""Recorded files as events: compressed lines, iPinYou's logs, auctions, order in time and pace."""

from __future__ import annotations

import gzip
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ingest.replay.auctions import Auction, MarketEvents, Participation, read_auctions
from ingest.replay.events import read_json_event, timed_events
from ingest.replay.ipinyou import IpinyouReader, read_region_names
from ingest.replay.lines import BadLine, Line, RecordedFile
from ingest.replay.order import Timed, TimeOrder
from ingest.replay.pace import BATCH_BYTES, BATCH_EVENTS, batched, paced, shift_to_now_ms, speed_factor
from schemas.decode import decode_row
from schemas.events import Event
from tests.support.needs import shared_data

IMPRESSIONS = "ipinyou/raw/imp.20131021.adv2821.limit1000.txt.gz"
CLICKS = "ipinyou/raw/clk.20131021.adv2821.txt"


def log_line(**columns: str) -> bytes:
    """A line of an iPinYou log; columns not named are null."""
    places = {"bid": 0, "time": 1, "type": 2, "region": 6, "creative": 18, "paying": 20, "advertiser": 22}
    given = {"bid": "b1", "time": "20131021192300738", "type": "1", "paying": "201", "advertiser": "2821"} | columns
    line = ["null"] * 24
    for name, value in given.items():
        line[places[name]] = value
    return "\t".join(line).encode()


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(lambda text: text, id="plain"),
        pytest.param(gzip.compress, id="gzip"),
        pytest.param(zstandard.compress, id="zstd"),
        pytest.param(lambda text: zstandard.compress(text[:4]) + zstandard.compress(text[4:]), id="zstd in two frames"),
        pytest.param(lambda text: gzip.compress(text[:4]) + gzip.compress(text[4:]), id="gzip in two members"),
    ],
)
def test_lines_are_read_whatever_the_compression(tmp_path: Path, packed: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(packed(b"one\n\n two\r\nthree"))
    lines = list(RecordedFile(path).lines())
    assert lines == [Line(path, 1, b"one"), Line(path, 3, b"two"), Line(path, 4, b"three")]


@pytest.mark.parametrize("packed", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_file_cut_short_gives_its_lines_and_then_a_reason(tmp_path: Path, packed: Any) -> None:
    path = tmp_path / "file"
    content = b"".join(b"%d %d\n" % (number, number * 7_919) for number in range(100_000))
    path.write_bytes(packed(content)[:-1_000])
    *lines, last = RecordedFile(path).lines()
    assert isinstance(last, BadLine)
    assert "cut short" in last.reason
    assert [line.content for line in lines if isinstance(line, Line)] == content.splitlines()[: len(lines)]


def test_a_line_without_end_is_reported_and_the_next_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 2_000_000 + b"\nnext\n")
    bad, following = RecordedFile(path).lines()
    assert isinstance(bad, BadLine)
    assert following == Line(path, 2, b"next")


def test_every_line_of_the_real_logs_is_a_valid_event_and_none_is_lost() -> None:
    reader = IpinyouReader()
    events, wanted = {}, Counter[str]()
    for name in (IMPRESSIONS, CLICKS):
        for line in RecordedFile(shared_data(name)).lines():
            assert isinstance(line, Line)
            columns = line.content.split(b"\t")
            wanted[columns[2].decode()] += 1
            wanted["micros"] += 10 * int(columns[20]) if columns[2] == b"1" else 0
            event = reader.read(line.content)
            events[event["event_id"]] = event
    kinds = Counter(event["type"] for event in events.values())
    assert (kinds["impression"], kinds["click"]) == (wanted["1"], wanted["2"]) == (10_000, 442)
    assert sum(event.get("cost_micros", 0) for event in events.values()) == wanted["micros"]
    tied = [event for event in events.values() if event.get("impression_id") in events]
    assert len(tied) == 3


def test_the_collector_accepts_what_the_reader_makes_of_real_lines() -> None:
    encoded: list[Timed] = []
    for name in (IMPRESSIONS, CLICKS):
        lines = RecordedFile(shared_data(name)).lines()
        encoded += timed_events(lines, IpinyouReader().read, campaign_prefix="", report=pytest.fail)
    decoded = [decode_row(event.record, now_ms=event.ts_ms) for event in encoded]
    assert len(decoded) == 10_442
    assert all(isinstance(event, Event) for event in decoded)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        pytest.param({"type": "7"}, "log type", id="an unknown log type"),
        pytest.param({"time": "2013102119230073"}, "timestamp", id="a timestamp cut short"),
        pytest.param({"time": "20131321192300738"}, "calendar", id="a thirteenth month"),
        pytest.param({"paying": "-3"}, "paying price", id="a negative price"),
        pytest.param({"paying": "null"}, "paying price", id="an impression without a price"),
        pytest.param({"advertiser": "null"}, "advertiser", id="no advertiser"),
    ],
)
def test_a_log_line_that_is_no_event_says_why(columns: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        IpinyouReader().read(log_line(**columns))


def test_a_log_line_with_other_columns_says_how_many() -> None:
    with pytest.raises(ValueError, match="23 tab-separated columns and not 24"):
        IpinyouReader().read(log_line().rsplit(b"\t", 1)[0])


def test_a_paying_price_in_fen_per_thousand_is_ten_micros_an_impression_and_clicks_cost_nothing() -> None:
    assert IpinyouReader().read(log_line(paying="201"))["cost_micros"] == 2_010
    assert "cost_micros" not in IpinyouReader().read(log_line(type="2", paying="201"))


def test_the_bid_id_ties_click_and_conversion_to_the_impression() -> None:
    reader = IpinyouReader()
    impression, click, conversion = (reader.read(log_line(type=kind)) for kind in "123")
    assert click["impression_id"] == impression["event_id"]
    assert conversion["click_id"] == click["event_id"]
    assert len({event["event_id"] for event in (impression, click, conversion)}) == 3


def test_a_repeated_bid_id_is_another_event_at_another_time_and_the_same_at_the_same() -> None:
    reader = IpinyouReader()
    times = ("20131021192300738", "20131021192300999", "20131021192300738", "20131021192300999")
    ids = [reader.read(log_line(time=time))["event_id"] for time in times]
    assert ids == ["b1", "b1.20131021192300999"] * 2


@pytest.mark.parametrize("bid", ["null", "", "with space", "x" * 41, "a/b"])
def test_a_bid_id_that_cannot_be_an_event_id_gives_one_from_the_line(bid: str) -> None:
    first, again, later = (
        IpinyouReader().read(log_line(bid=bid, type="2", time=time))
        for time in ("20131021192300738", "20131021192300738", "20131021192300739")
    )
    assert first["event_id"] == again["event_id"] != later["event_id"]
    assert "impression_id" not in first


def test_regions_get_their_names() -> None:
    names = read_region_names(shared_data("ipinyou/raw/region.en.txt").read_text())
    assert IpinyouReader(regions=names).read(log_line(region="3"))["region"] == "hebei"
    assert IpinyouReader().read(log_line(region="3"))["region"] == "3"


def test_lines_that_are_no_events_are_reported_and_the_others_go_on() -> None:
    path, reported = Path("f"), []
    contents = [b'{"ts":1,"campaign_id":"c"}', b"{", b"[]", b'{"ts":"soon"}', b'{"ts":true}', b'{"ts":2}']
    lines = [Line(path, number, content) for number, content in enumerate(contents, start=1)]
    events = list(timed_events(lines, read_json_event, campaign_prefix="p-", report=reported.append))
    assert events == [Timed(1, b'{"ts":1,"campaign_id":"p-c"}'), Timed(2, b'{"ts":2}')]
    assert [bad.number for bad in reported] == [2, 3, 4, 5]


@given(times=st.lists(st.integers(-5, 5), max_size=40), run_events=st.integers(1, 50))
def test_events_come_by_time_and_equal_times_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, times: list[int], run_events: int
) -> None:
    events = [Timed(ts_ms, b'{"n":%d}' % number) for number, ts_ms in enumerate(times)]
    order = TimeOrder(tmp_path_factory.mktemp("order"), run_events=run_events)
    order.take(events)
    assert list(order.in_order()) == sorted(events, key=lambda event: event.ts_ms)
    assert (order.count, order.first_ms, order.last_ms) == (
        len(times),
        min(times, default=None),
        max(times, default=None),
    )


def test_batches_are_bounded_in_events_and_in_bytes() -> None:
    assert [len(batch) for batch in batched([b"x"] * (2 * BATCH_EVENTS + 1))] == [BATCH_EVENTS, BATCH_EVENTS, 1]
    assert [len(batch) for batch in batched([b"x" * (BATCH_BYTES // 2)] * 4)] == [2, 2]


class HandClock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.mark.parametrize(("factor", "dues_s"), [(1.0, [0.0, 1.0, 60.0]), (60.0, [0.0, 1.0]), (math.inf, [0.0])])
def test_events_are_sent_at_the_speed_they_happened_times_the_factor(factor: float, dues_s: list[float]) -> None:
    clock = HandClock()
    events = [Timed(ts_ms, b"%d" % ts_ms) for ts_ms in (5_000, 5_010, 6_000, 65_000)]
    sent = [
        (clock.now_s - 100.0, batch) for batch in paced(events, factor, clock=lambda: clock.now_s, sleep=clock.sleep)
    ]
    assert [due_s for due_s, _ in sent] == pytest.approx(dues_s)
    assert [record for _, batch in sent for record in batch] == [event.record for event in events]


@pytest.mark.parametrize("speed", ["", "0x", "fast", "-1x", "1", "1e9x"])
def test_a_speed_that_is_none_is_refused(speed: str) -> None:
    with pytest.raises(ValueError, match="must be max, or a factor"):
        speed_factor(speed)


@given(
    first_ms=st.integers(0, 10**9),
    span_ms=st.integers(0, 10**9),
    factor=st.one_of(st.just(math.inf), st.floats(1.0, 1_000.0)),
)
def test_after_the_shift_the_last_event_is_sent_at_its_time_and_none_before(
    first_ms: int, span_ms: int, factor: float
) -> None:
    now_ms = 2 * 10**12
    shift_ms = shift_to_now_ms(first_ms, first_ms + span_ms, factor=factor, now_ms=now_ms)
    assert first_ms + span_ms + shift_ms == now_ms + round(span_ms / factor)
    assert first_ms + shift_ms <= now_ms + 1


def test_the_real_auction_file_has_a_hundred_thousand_auctions_after_its_headers() -> None:
    auctions = list(read_auctions(RecordedFile(shared_data("ipinyou/auctions/2821.txt.gz"))))
    assert len(auctions) == 100_000
    assert auctions[0] == Auction(False, 201, 0.002524943151833903)


def test_auction_lines_that_are_none_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "auctions.txt"
    path.write_text("5 1000\n1\n0 201 0.5\n2 201 0.5\n0 -1 0.5\n1 x 0.5\n0 1 1.5\n1 0 0\n")
    found = list(read_auctions(RecordedFile(path)))
    assert [one for one in found if isinstance(one, Auction)] == [Auction(False, 201, 0.5), Auction(True, 0, 0.0)]
    assert [one.number for one in found if isinstance(one, BadLine)] == [4, 5, 6, 7]


def test_a_clicked_win_gives_the_impression_and_its_click_with_ids_of_their_own_run() -> None:
    impression, click = MarketEvents("2821", run="a").of(7, Auction(True, 30, 0.1), 300_000, ts_ms=5)
    assert (impression["cost_micros"], click["impression_id"]) == (300, impression["event_id"])
    other = MarketEvents("2821", run="b").of(7, Auction(True, 30, 0.1), 300_000, ts_ms=5)
    assert other[0]["event_id"] != impression["event_id"]


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.37, 0.5, 1.0])
def test_taking_part_follows_the_pacing_rate_within_one_auction(rate: float) -> None:
    participation, taken = Participation(), 0
    for number in range(1, 1_001):
        taken += participation.takes_part(rate)
        assert abs(taken - rate * number) <= 1 + 1e-6
