"""What bidders are served: a fold of control and decisions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from api.serving import MemoryServing
from control.store import Action, ControlStore, Word
from schemas import topics
from schemas.campaigns import Campaign
from schemas.decisions import encode_decision
from schemas.kpis import Counters
from schemas.live import BudgetState, CampaignLive
from schemas.log import Chunk
from schemas.serving import Serving
from storage.serving_fold import spendable_of
from tests.api.conftest import Apis
from tests.support.decisions import decision_of
from tests.support.memory_log import MemoryLog
from tests.support.until import until

LEARNING = {"strategy": "max_clicks", "bid_micros": 500}
MANUAL = {"strategy": "manual", "bid_micros": 500}


def definition(**changes: Any) -> Campaign:
    fields = {"campaign_id": "shoes", "name": "Shoes", "currency": "EUR", "bidding": LEARNING}
    return Campaign.model_validate(fields | changes)


def decision(
    kind: str,
    after: dict[str, Any],
    mode: str = "auto",
    name: str = "d1",
    reason: str = "learning",
    inputs: dict[str, Any] | None = None,
) -> bytes:
    return encode_decision(
        decision_of(
            decision_id=name, org_id="default", campaign_id="shoes", kind=kind, reason=reason, ts_ms=1, effective_ms=1,
            before={}, after=after, inputs=inputs or {}, policy="test", mode=mode,
        )
    )  # fmt: skip


PAUSE = decision("pause", {}, reason="daily_budget_reached")
RESUME = decision("resume", {}, name="d2", reason="next_period")


def chunk(topic: str, records: Iterable[bytes]) -> Chunk:
    payload = b"".join(record + b"\n" for record in records)
    return Chunk(topic, 0, payload, 0, len(payload))


class Fold:
    """A control store whose outbox, with decisions, is folded."""

    def __init__(self, store: ControlStore) -> None:
        self.store = store
        self.log = MemoryLog()

    def put(self, **changes: Any) -> None:
        self.store.put_campaign(definition(**changes), changed_by="ana", now_ms=1)

    def override(self, action: Action, bid_micros: int | None = None) -> None:
        self.store.override("default", "shoes", action, changed_by="ana", now_ms=1, bid_micros=bid_micros)

    def say(self, word: Word, name: str = "d1") -> None:
        self.store.say("default", "shoes", name, word, changed_by="ana", now_ms=1)

    def served(self, *decisions: bytes, decisions_first: bool = False) -> Serving:
        self.store.publish_outbox(self.log)
        serving = MemoryServing()
        if decisions_first:
            serving.take(chunk(topics.DECISIONS, decisions))
        serving.take(chunk(topics.CONTROL, self.log.records(topics.CONTROL)))
        if not decisions_first:
            serving.take(chunk(topics.DECISIONS, decisions))
        state = serving.get("default", "shoes")
        assert state is not None
        return state


@pytest.fixture
def fold(apis: Apis) -> Fold:
    made = Fold(apis.start().store)
    made.put()
    return made


@pytest.fixture(params=[False, True], ids=["control_read_first", "decisions_read_first"])
def decisions_first(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_a_campaign_starts_with_its_own_bid_and_runs(fold: Fold) -> None:
    state = fold.served()
    assert (state.bid_micros, state.paused, state.pacing_rate, state.currency) == (500, False, 1.0, "EUR")


def test_decisions_pause_resume_and_set_what_bidders_need(fold: Fold, decisions_first: bool) -> None:
    paused = fold.served(PAUSE, decisions_first=decisions_first)
    assert (paused.paused, paused.pause_reason, paused.decision_id) == (True, "daily_budget_reached", "d1")
    told = [
        PAUSE,
        RESUME,
        decision("set_bid", {"bid_micros": 700}, name="d3"),
        decision("set_pacing", {"pacing_rate": 0.25}, name="d4"),
        decision("set_bid_modifiers", {"modifiers": {"device=mobile": 1.2}}, name="d5"),
    ]
    state = fold.served(*told, decisions_first=decisions_first)
    assert (state.paused, state.bid_micros, state.pacing_rate) == (False, 700, 0.25)
    assert state.modifiers == {"device=mobile": 1.2}


def test_a_persons_pause_and_bid_stand_until_they_are_lifted(fold: Fold, decisions_first: bool) -> None:
    bid = decision("set_bid", {"bid_micros": 700})
    fold.override(Action.PAUSE)
    fold.override(Action.SET_BID, 900)
    state = fold.served(bid, decisions_first=decisions_first)
    assert (state.paused, state.pause_reason, state.bid_micros) == (True, "paused_by_person", 900)
    fold.override(Action.LIFT)
    state = fold.served(bid, decisions_first=decisions_first)
    assert (state.paused, state.bid_micros) == (False, 700)


def test_lifting_a_persons_pause_does_not_lift_the_budgets(fold: Fold) -> None:
    fold.override(Action.PAUSE)
    fold.override(Action.LIFT)
    assert fold.served(PAUSE).pause_reason == "daily_budget_reached"


@pytest.mark.parametrize("status", ["paused", "archived"])
def test_a_campaign_that_a_person_stopped_is_paused(fold: Fold, status: str) -> None:
    fold.put(status=status)
    assert fold.served(RESUME).paused


def test_a_manual_bid_goes_before_what_a_strategy_had_decided(fold: Fold, decisions_first: bool) -> None:
    fold.put(bidding=MANUAL)
    bid = decision("set_bid", {"bid_micros": 700})
    assert fold.served(bid, decisions_first=decisions_first).bid_micros == 500


@pytest.mark.parametrize(
    ("mode", "words", "bid_micros"),
    [
        ("auto", [], 700),
        ("dry_run", [], 500),
        ("recommend", [], 500),
        ("recommend", [Word.APPROVE], 500),
        ("recommend", [Word.REJECT], 500),
    ],
    ids=["auto", "dry_run", "nobody_said_anything", "the_dataflow_answers_an_approval", "rejected"],
)
def test_only_a_decision_in_mode_auto_takes_effect(
    fold: Fold, mode: str, words: list[Word], bid_micros: int, decisions_first: bool
) -> None:
    for word in words:
        fold.say(word)
    bid = decision("set_bid", {"bid_micros": 700}, mode=mode)
    assert fold.served(bid, decisions_first=decisions_first).bid_micros == bid_micros


def test_a_decision_that_a_person_asked_for_goes_before_the_bid_they_set_earlier(
    fold: Fold, decisions_first: bool
) -> None:
    fold.put(bidding=MANUAL)
    fold.override(Action.SET_BID, 900)
    asked = {"version": 2, "replaces_override": 0}
    override = decision("set_bid", {"bid_micros": 900}, inputs=asked)
    assert fold.served(override, decisions_first=decisions_first).bid_micros == 900
    undone = decision("set_bid", {"bid_micros": 650}, name="d2", inputs=asked | {"replaces_override": 1})
    assert fold.served(override, undone, decisions_first=decisions_first).bid_micros == 650
    fold.override(Action.SET_BID, 800)
    assert fold.served(override, undone, decisions_first=decisions_first).bid_micros == 800


def test_undoing_a_persons_pause_lets_the_campaign_run(fold: Fold, decisions_first: bool) -> None:
    fold.override(Action.PAUSE)
    undone = decision("resume", {}, reason="undo", inputs={"replaces_override": 1})
    assert not fold.served(undone, decisions_first=decisions_first).paused
    fold.override(Action.PAUSE)
    assert fold.served(undone, decisions_first=decisions_first).paused


def test_records_that_cannot_be_read_are_left_out(fold: Fold) -> None:
    nameless = decision("set_bid", {"bid_micros": 1}, name="d9").replace(b'"bid_micros"', b'"bid"')
    assert fold.served(b"{", nameless, PAUSE).paused


def test_the_sequence_number_rises_with_every_change_and_is_the_same_everywhere(fold: Fold) -> None:
    first = fold.served()
    fold.put(name="Boots")
    second = fold.served()
    third = fold.served(PAUSE)
    assert first.seq < second.seq < third.seq == fold.served(PAUSE, decisions_first=True).seq


def test_what_is_left_to_spend_is_the_tightest_budget_less_what_is_in_flight() -> None:
    def live(*budgets: tuple[int, int, int]) -> CampaignLive:
        states = [
            BudgetState(
                period="day", budget_micros=b, spent_micros=s, in_flight_micros=f, period_start_ms=0, period_end_ms=None
            )
            for b, s, f in budgets
        ]
        return CampaignLive(
            org_id="o", campaign_id="c", name="", currency="EUR", time_zone="UTC", state="active", state_reason=None,
            version=1, watermark_ms=0, now_ms=0, today=Counters(), total=Counters(), rolling={}, windows=[],
            budgets=states,
        )  # fmt: skip

    assert spendable_of(live((100, 20, 5), (1_000, 0, 0))) == 75
    assert spendable_of(live((100, 99, 5))) == 0
    assert spendable_of(live()) is None


async def test_serving_over_rest_is_refused_until_the_log_was_read_and_then_tells_every_field(apis: Apis) -> None:
    log = MemoryLog()
    log.down = True
    api = apis.start(log)
    refused = api.client.get("/api/v1/serving")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    log.down = False
    fold = Fold(api.store)
    fold.put()
    log.append(topics.DECISIONS, 0, [PAUSE])
    await until(lambda: api.client.get("/readyz").status_code == 200)

    def shoes() -> dict[str, Any]:
        answer = api.client.get("/api/v1/campaigns/shoes/serving")
        return dict(answer.json()) if answer.status_code == 200 else {}

    await until(lambda: shoes().get("paused") and shoes()["bid_micros"] == 500)
    assert set(shoes()) == set(Serving.__struct_fields__)
    assert api.client.get("/api/v1/serving").json() == [shoes()]
    assert api.client.get("/api/v1/campaigns/hats/serving").status_code == 404


async def test_an_api_that_starts_again_serves_what_expired_decisions_said(apis: Apis, tmp_path: Path) -> None:
    kept = tmp_path / "kept" / "serving.json"
    first = apis.start(serving_file=kept)
    first.store.put_campaign(definition(), changed_by="ana", now_ms=1)
    first.store.publish_outbox(first.log)
    first.log.append(topics.DECISIONS, 0, [PAUSE])
    address = "/api/v1/campaigns/shoes/serving"
    await until(lambda: first.client.get(address).json().get("paused"))
    apis.end()
    assert kept.stat().st_mode & 0o777 == 0o600
    first.log.drop_before(topics.DECISIONS, 0, first.log.end(topics.DECISIONS, 0))
    again = apis.start(first.log, serving_file=kept)
    await until(lambda: again.client.get(address).status_code == 200)
    served = again.client.get(address).json()
    assert (served["paused"], served["pause_reason"]) == (True, "daily_budget_reached")
