"""KPI history and old decisions over REST, read from the chDB service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from api.clickhouse import ClickHouseHistory
from api.decision_history import Wanted
from schemas.decisions import SEQUENCE_BITS, Decision, Effect, encode_decision
from schemas.kpis import KpiColumns
from storage.insert import insert
from storage.schema import prepare
from storage.store.tables import decision_table, kpi_table
from tests.api.conftest import NOW_MS, Api, Apis
from tests.support.chdb_service import ChdbService
from tests.support.decisions import decision_of
from tests.support.ports import free_ports

MINUTE_MS = 60_000


def decision(number: int, **changes: Any) -> Decision:
    fields: dict[str, Any] = {
        "decision_id": f"d{number}", "org_id": "default", "campaign_id": "shoes", "kind": "set_bid",
        "reason": "goal_better", "ts_ms": NOW_MS + number // 2, "effective_ms": NOW_MS, "before": {"bid_micros": 1},
        "after": {"bid_micros": number}, "inputs": {}, "policy": "p", "expected": [Effect("clicks", 2.0, 1.0, 3.0)],
        "undo": {"kind": "set_bid", "after": {"bid_micros": 1}}, "cause_event": "e1",
    }  # fmt: skip
    return decision_of(**fields | changes)


STORED = [
    *(decision(n) for n in range(6)),
    decision(6, campaign_id="hats", kind="pause", undo=None, cause_event=None, expected=[]),
    decision(7, org_id="acme"),
    # A pause by a late event, decided after a resume with a later cause.
    decision(8, org_id="late", kind="resume", ts_ms=NOW_MS + 9_000, sequence=(NOW_MS + 9_000) << SEQUENCE_BITS),
    decision(9, org_id="late", kind="pause", ts_ms=NOW_MS, sequence=((NOW_MS + 9_000) << SEQUENCE_BITS) + 1),
]


def _windows(*rows: dict[str, Any]) -> bytes:
    """A record of topic kpis with these rows, each a minute of campaign shoes."""
    texts = dict.fromkeys(("creative_id", "channel", "country", "device"), "")
    common: dict[str, Any] = dict.fromkeys(KpiColumns.__struct_fields__, 0) | texts | {
        "org_id": "default", "campaign_id": "shoes", "level": "campaign", "window": "1m", "impressions": 1_000,
        "spend_micros": 2_000_000, "version": 1,
    }  # fmt: skip
    whole = [common | {"window_end_ms": row["window_start_ms"] + MINUTE_MS} | row for row in rows]
    columns = KpiColumns(**{name: [row[name] for row in whole] for name in common})
    return msgspec.json.encode(columns.packed())


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with a few decisions and KPI windows."""
    service = ChdbService(tmp_path_factory.mktemp("chdb"))
    service.start()
    address = service.url("history")
    starts = {minute: NOW_MS - minute * MINUTE_MS for minute in range(4)}
    record = _windows(
        *({"window_start_ms": starts[minute], "clicks": minute} for minute in (3, 2, 1, 0)),
        {"window_start_ms": starts[2], "clicks": 20, "version": 2},
        {"window_start_ms": starts[2], "level": "series", "creative_id": "k1"},
    )
    try:
        with prepare(address, raw_ttl_days=90, window_ttl_days=1826) as client:
            insert(client, "decisions", decision_table([encode_decision(each) for each in STORED]))
            insert(client, "kpi_windows", kpi_table([record]))
        yield address
    finally:
        service.kill()


@pytest.fixture
def history(url: str) -> ClickHouseHistory:
    return ClickHouseHistory(url)


def test_a_stored_decision_reads_back_as_it_was(history: ClickHouseHistory) -> None:
    assert history.get("default", "d3") == STORED[3]
    assert history.get("default", "d6") == STORED[6]
    assert history.get("acme", "d3") is None


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted("default"), ["d6", "d5", "d4", "d3", "d2", "d1", "d0"]),
        (Wanted("default", limit=2), ["d6", "d5"]),
        (Wanted("default", before=STORED[5].place), ["d4", "d3", "d2", "d1", "d0"]),
        (Wanted("default", before=((NOW_MS + 1) << SEQUENCE_BITS, "")), ["d1", "d0"]),
        (Wanted("default", campaign_id="hats"), ["d6"]),
        (Wanted("default", kind="pause"), ["d6"]),
        (Wanted("acme"), ["d7"]),
        (Wanted("late"), ["d9", "d8"]),
        (Wanted("late", before=STORED[-1].place), ["d8"]),
    ],
    ids=[
        "newest_first",
        "limit",
        "behind_a_decision",
        "before_a_time",
        "campaign",
        "kind",
        "organisation",
        "as_they_were_taken",
        "behind_one_of_them",
    ],
)
def test_stored_decisions_are_found_in_the_order_of_memory(
    history: ClickHouseHistory, wanted: Wanted, found: list[str]
) -> None:
    assert [each.decision_id for each in history.find(wanted)] == found


@pytest.fixture
def api(apis: Apis, history: ClickHouseHistory) -> Api:
    return apis.start(kpis=history, archive=history)


def get(api: Api, query: str) -> httpx.Response:
    return api.client.get(f"/api/v1/campaigns/shoes/kpis?{query}")


def test_windows_come_with_their_rates_oldest_first_and_the_newest_version_of_each(api: Api) -> None:
    told = get(api, f"from_ms={NOW_MS - 3 * MINUTE_MS}").json()
    assert [(row["window_start_ms"] - NOW_MS, row["clicks"]) for row in told["rows"]] == [
        (-3 * MINUTE_MS, 3),
        (-2 * MINUTE_MS, 20),
        (-MINUTE_MS, 1),
    ]
    row = told["rows"][1]
    assert (row["ctr"], row["cpc_micros"], row["cpm_micros"], row["cpa_micros"]) == (0.02, 100_000, 2_000_000, None)
    assert (told["to_ms"], told["truncated"]) == (NOW_MS, False)


def test_windows_by_series_name_their_dimensions(api: Api) -> None:
    (row,) = get(api, "level=series").json()["rows"]
    assert (row["creative_id"], row["window"], row["window_end_ms"] - row["window_start_ms"]) == ("k1", "1m", MINUTE_MS)


@pytest.mark.parametrize("query", ["window=1w", "level=ad", f"from_ms={NOW_MS}&to_ms={NOW_MS}", "from_ms=now"])
def test_a_question_that_makes_no_sense_is_refused(api: Api, query: str) -> None:
    assert get(api, query).status_code == 422


def test_clickhouse_being_away_is_a_503_and_stops_nothing_else(apis: Apis) -> None:
    (port,) = free_ports(1)
    away = ClickHouseHistory(f"http://default@127.0.0.1:{port}/history")
    api = apis.start(kpis=away, archive=away)
    answer = get(api, "")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:penstock:problem:clickhouse_unavailable")
    assert "127.0.0.1" not in answer.text
    assert api.client.get("/api/v1/campaigns").status_code == 200


def test_an_api_without_clickhouse_says_so(apis: Apis) -> None:
    assert get(apis.start(), "").json()["type"] == "urn:penstock:problem:no_clickhouse"
