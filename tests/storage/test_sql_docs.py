"""Every query of docs/sql.md runs as the analyst, and says what is true."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas import topics
from schemas.control import CampaignRecord, encode_control
from schemas.dead_letters import Reject, dead_letter
from schemas.decisions import Kind
from schemas.events import Event
from storage.client import connect
from storage.store.event_feed import EventFeed
from storage.store.feeds import topic_feeds
from tests.storage.conftest import Database, Server, made_database
from tests.storage.small_flow import SmallFlow, events
from tests.support.decisions import decision
from tests.support.memory_log import MemoryLog

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sql.md").read_text()
QUESTIONS = dict(re.findall(r"^## (\d+\. [^\n]+)\n.*?```sql\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))

ON_TIME = events(600, campaigns=2)
LATE = events(60, seed=4, campaigns=2)
CLICK = next(event for event in ON_TIME if event.type == "click")
BOUGHT = Event(
    event_id="bought", type="conversion", ts=CLICK.ts + 90_000, campaign_id=CLICK.campaign_id, click_id=CLICK.event_id,
    user_id="u1", country="DE", creative_id="cr0", channel="search", device="mobile",
)  # fmt: skip
WASTED = Event(
    event_id="wasted", type="click", ts=CLICK.ts, campaign_id="c0", publisher_id="p9", cost_micros=3_000_000,
    user_id="u1", country="DE", creative_id="cr0",
)  # fmt: skip
ALL = [*ON_TIME, BOUGHT, WASTED, *LATE]


def fill(log: MemoryLog) -> None:
    """A morning of two campaigns, one of them in Berlin, and what was refused and decided."""
    flow = SmallFlow(log)
    flow.send([*ON_TIME, BOUGHT, WASTED, *ON_TIME[:50]])
    flow.report()
    flow.send(LATE, late=True)
    definition = {"campaign_id": "c0", "name": "Spring", "currency": "EUR", "time_zone": "Europe/Berlin"}
    campaign = definition | {"daily_budget_micros": 10_000_000_000}
    record = CampaignRecord(
        key="c0", org_id="default", campaign_id="c0", version=1, changed_by="me", changed_ms=0, campaign=campaign
    )
    log.append(topics.CONTROL, 0, [encode_control(record)])
    inputs = {"spend_micros": 10_250_000, "budget_micros": 10_000_000}
    paused = msgspec.json.decode(decision(1_000, Kind.PAUSE)) | {"inputs": inputs}
    bid = msgspec.json.decode(decision(2_000, Kind.SET_BID, after={"bid_micros": 1_300_000})) | {
        "before": {"bid_micros": 1_000_000},
    }
    log.append(topics.DECISIONS, 0, [msgspec.json.encode(one) for one in (paused, bid, paused)])
    refused = [
        dead_letter(b"{", Reject.MALFORMED_JSON, "", "cut", source=f"events/0@{n}", org_id="default", ts_ms=n)
        for n in range(3)
    ]
    log.append(topics.DEAD_LETTERS, 0, [msgspec.json.encode(letter) for letter in refused])


@pytest.fixture(scope="module")
def filled(server: Server) -> Iterator[Database]:
    log = MemoryLog()
    fill(log)
    with made_database(server) as database:
        now = iter(range(0, 1_000, 100))
        events = EventFeed(log, raw_ttl_days=90, clock=lambda: float(next(now)))
        for feed in (*topic_feeds(log, raw_ttl_days=90), events):
            while feed.step(database.client):
                pass
            feed.step(database.client)
        yield database


def answer(server: Server, database: Database, number: int) -> list[dict[str, Any]]:
    (query,) = [sql for title, sql in QUESTIONS.items() if title.startswith(f"{number}. ")]
    with connect(server.url(database.name, user="analyst")) as analyst:
        return list(analyst.query(query).named_results())


def test_the_page_has_at_least_fifteen_questions() -> None:
    assert len(QUESTIONS) >= 15


# Only what has gone wrong is listed there.
EMPTY = {12}


@pytest.mark.parametrize("title", QUESTIONS)
def test_the_query_runs_and_answers(server: Server, filled: Database, title: str) -> None:
    number = int(title.split(".")[0])
    assert (answer(server, filled, number) == []) == (number in EMPTY)


def test_spend_by_day_is_the_sum_of_all_costs(server: Server, filled: Database) -> None:
    found = {(row["campaign_id"], row["time_zone"]): row["spend"] for row in answer(server, filled, 1)}
    assert found == {
        (campaign, zone): Decimal(sum(e.cost_micros for e in ALL if e.campaign_id == campaign)) / 1_000_000
        for campaign, zone in (("c0", "Europe/Berlin"), ("c1", "UTC"))
    }


def test_click_rates_count_every_click_and_impression(server: Server, filled: Database) -> None:
    found = {(row["campaign_id"], row["creative_id"]): (row["n"], row["k"]) for row in answer(server, filled, 2)}
    kinds = Counter((e.campaign_id, e.creative_id, e.type) for e in ALL)
    expected = {key[:2]: (kinds[*key[:2], "impression"], kinds[*key[:2], "click"]) for key in kinds}
    assert found == expected
    for row in answer(server, filled, 2):
        assert 0 <= row["ctr_low"] <= row["ctr"] <= row["ctr_high"] <= 1


def test_frequency_adds_up_to_all_impressions(server: Server, filled: Database) -> None:
    assert sum(row["times"] * row["people"] for row in answer(server, filled, 3)) == sum(
        e.type == "impression" for e in ALL
    )


def test_a_pause_written_twice_is_one_with_its_overspend(server: Server, filled: Database) -> None:
    (pause,) = answer(server, filled, 4)
    assert (pause["budget"], pause["spent"], pause["overspend"]) == (10.0, 10.25, 0.25)


def test_dead_letters_are_counted_by_reason(server: Server, filled: Database) -> None:
    assert [(row["reason"], row["refused"]) for row in answer(server, filled, 6)] == [("malformed_json", 3)]


def test_the_late_share_is_that_of_the_events(server: Server, filled: Database) -> None:
    (day,) = answer(server, filled, 7)
    assert (day["late_events"], day["all_events"]) == (len(LATE), len(ALL))


def test_people_by_country_are_distinct_users(server: Server, filled: Database) -> None:
    found = {row["country"]: row["people"] for row in answer(server, filled, 8)}
    assert found == {c: len({e.user_id for e in ALL if e.country == c}) for c in ("DE", "FR")}


def test_the_time_from_click_to_conversion_is_known(server: Server, filled: Database) -> None:
    (row,) = answer(server, filled, 9)
    assert (row["campaign_id"], row["median_seconds"]) == (CLICK.campaign_id, 90.0)


def test_utilisation_is_spend_over_budget(server: Server, filled: Database) -> None:
    spend = sum(e.cost_micros for e in ALL if e.campaign_id == "c0")
    first, second = answer(server, filled, 10)
    assert (first["name"], first["percent"]) == ("Spring", round(100 * spend / 10_000_000_000, 1))
    assert second["percent"] is None


def test_wasted_money_is_where_nothing_came_of_it(server: Server, filled: Database) -> None:
    found = [(row["campaign_id"], row["publisher_id"], row["spend"]) for row in answer(server, filled, 13)]
    assert found == [("c0", "p9", Decimal(3))]


def test_a_bid_change_shows_both_bids(server: Server, filled: Database) -> None:
    assert [(row["cpm_before"], row["cpm_after"]) for row in answer(server, filled, 14)] == [(1.0, 1.3)]


def test_hours_of_the_week_are_local(server: Server, filled: Database) -> None:
    found = [(row["campaign_id"], row["weekday"], row["hour"]) for row in answer(server, filled, 15)]
    # Monday from 00:00 UTC on is Monday from 01:00 on in Berlin.
    assert found == [("c0", 1, 1), ("c1", 1, 0)]


def test_the_state_of_a_campaign_is_its_newest_decision(server: Server, filled: Database) -> None:
    (row,) = answer(server, filled, 18)
    assert (row["campaign_id"], row["state"], row["state_reason"], row["cpm_bid"]) == (
        "c1", "paused", "daily_budget_reached", 1.3,
    )  # fmt: skip
