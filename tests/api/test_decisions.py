"""Decisions over REST, and people's words on them."""

from __future__ import annotations

from typing import Any

import pytest

from api.decision_history import DecisionHistory, Wanted
from schemas import topics
from schemas.control import DecisionWordRecord, decode_control
from schemas.decisions import Decision, encode_decision
from tests.api.conftest import Api, Apis
from tests.support.decisions import decision_of
from tests.support.memory_log import MemoryLog
from tests.support.until import until


def decision(number: int, **changes: Any) -> Decision:
    fields: dict[str, Any] = {
        "decision_id": f"d{number}", "org_id": "default", "campaign_id": "shoes", "kind": "pause",
        "reason": "daily_budget_reached", "ts_ms": 1_000 * number, "effective_ms": 1_000 * number, "before": {},
        "after": {}, "inputs": {"spend_micros": 5}, "policy": "budget",
    }  # fmt: skip
    return decision_of(**fields | changes)


async def with_decisions(apis: Apis, *decisions: Decision, **parts: Any) -> Api:
    log = MemoryLog()
    log.append(topics.DECISIONS, 0, [encode_decision(each) for each in decisions])
    api = apis.start(log, **parts)
    await until(lambda: api.client.get("/readyz").status_code == 200)
    return api


def ids(api: Api, query: str = "") -> list[str]:
    page = api.client.get(f"/api/v1/decisions{query}").json()
    return [each["decision_id"] for each in page["decisions"]]


async def test_decisions_are_listed_newest_first_and_can_be_chosen(apis: Apis) -> None:
    api = await with_decisions(
        apis, decision(2), decision(1), decision(3, campaign_id="hats"), decision(4, kind="resume"),
        decision(5, org_id="acme"),
    )  # fmt: skip
    assert ids(api) == ["d4", "d3", "d2", "d1"]
    assert ids(api, "?campaign_id=shoes") == ["d4", "d2", "d1"]
    assert ids(api, "?kind=resume") == ["d4"]
    assert ids(api, "?before=3000") == ["d2", "d1"]
    assert api.client.get("/api/v1/decisions?before=yesterday").status_code == 422
    assert api.client.get("/api/v1/decisions?kind=explode").status_code == 422


async def test_the_newest_decision_is_the_last_one_taken_and_not_the_one_with_the_latest_cause(apis: Apis) -> None:
    resumed = decision(1, kind="resume", reason="budget_raised", ts_ms=9_000, sequence=9_000 << 12)
    paused = decision(2, ts_ms=5_000, sequence=(9_000 << 12) + 1)
    earlier = decision(3, ts_ms=8_000, sequence=8_000 << 12)
    api = await with_decisions(apis, resumed, paused, earlier)
    assert ids(api) == ["d2", "d1", "d3"]
    assert ids(api, "?before=9000") == ["d3"]
    page = api.client.get("/api/v1/decisions?limit=1").json()
    assert ids(api, f"?before={page['next_before']}") == ["d1", "d3"]


async def test_pages_of_decisions_at_the_same_instant_leave_none_out(apis: Apis) -> None:
    api = await with_decisions(apis, *(decision(n, ts_ms=7) for n in range(5)))
    seen, before = [], ""
    while before is not None:
        page = api.client.get(f"/api/v1/decisions?limit=2{before and f'&before={before}'}").json()
        seen += [each["decision_id"] for each in page["decisions"]]
        before = page["next_before"]
    assert seen == ["d4", "d3", "d2", "d1", "d0"]


async def test_a_decision_says_why_and_from_which_numbers(apis: Apis) -> None:
    api = await with_decisions(apis, decision(1))
    told = api.client.get("/api/v1/decisions/d1").json()
    assert (told["reason"], told["inputs"], told["undo"]) == ("daily_budget_reached", {"spend_micros": 5}, None)
    assert told["explanation"].startswith("Paused, campaign shoes: the daily budget is spent.")
    assert "spend_micros 0.00" in told["explanation"]
    assert api.client.get("/api/v1/decisions/d9").status_code == 404


@pytest.mark.parametrize(
    ("fields", "word", "status"),
    [
        ({"mode": "recommend"}, "approve", 200),
        ({"mode": "recommend"}, "reject", 200),
        ({"mode": "auto"}, "approve", 409),
        ({"mode": "auto", "undo": {"kind": "resume", "after": {}}}, "undo", 200),
        ({"mode": "auto"}, "undo", 409),
        ({"mode": "auto", "org_id": "acme"}, "undo", 404),
    ],
    ids=["approve", "reject", "only_recommendations_are_approved", "undo", "nothing_to_undo", "another_organisation"],
)
async def test_a_persons_word_on_a_decision(apis: Apis, fields: dict[str, Any], word: str, status: int) -> None:
    api = await with_decisions(apis, decision(1, **fields))
    answer = api.client.post(f"/api/v1/decisions/d1/{word}")
    assert answer.status_code == status
    if status == 200:
        await until(lambda: api.log.records(topics.CONTROL))
        (record,) = map(decode_control, api.log.records(topics.CONTROL))
        assert isinstance(record, DecisionWordRecord)
        assert (record.decision_id, record.word, record.campaign_id) == ("d1", word, "shoes")


def test_history_is_bounded_by_dropping_the_oldest_and_takes_a_decision_once() -> None:
    history = DecisionHistory(size=200)
    for number in range(1_000):
        history.put(decision(number))
        history.put(decision(number))
    assert 190 < len(history) <= 200
    assert history.overflowed
    assert [each.decision_id for each in history.find(Wanted("default", limit=2))] == ["d999", "d998"]
    assert history.get("default", "d0") is None


class _Archive:
    """Ten decisions that memory has dropped."""

    def find(self, wanted: Wanted) -> list[Decision]:
        kept = [decision(n) for n in range(10, 0, -1)]
        older = [each for each in kept if wanted.before is None or each.place < wanted.before]
        return older[: wanted.limit]

    def get(self, org_id: str, decision_id: str) -> Decision | None:
        return decision(3) if decision_id == "d3" else None


async def test_what_memory_has_dropped_comes_from_the_archive(apis: Apis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.app.DecisionHistory", lambda: DecisionHistory(size=2))
    api = await with_decisions(apis, *(decision(n) for n in range(8, 14)), archive=_Archive())
    assert ids(api, "?limit=5") == ["d13", "d12", "d10", "d9", "d8"]
    assert api.client.get("/api/v1/decisions/d3").json()["decision_id"] == "d3"
    assert api.client.get("/api/v1/decisions/d4").status_code == 404
