"""What bidders are served: topic `serving`, held against the clock, live rows and people's pauses."""

from __future__ import annotations

from typing import Any

import pytest

from api.serving import MemoryServing
from control.store import Action, ControlStore
from schemas import topics
from schemas.campaigns import Campaign
from schemas.kpis import Counters
from schemas.live import BudgetState, CampaignLive, spendable_of
from schemas.log import Chunk
from schemas.serving import Serving, encode_serving
from tests.api.conftest import Apis
from tests.support.memory_log import MemoryLog
from tests.support.until import until

MANUAL = {"strategy": "manual", "bid_micros": 500}


def definition(**changes: Any) -> Campaign:
    fields = {"campaign_id": "shoes", "name": "Shoes", "currency": "EUR", "bidding": MANUAL}
    return Campaign.model_validate(fields | changes)


def word(seq: int = 1, **given: Any) -> Serving:
    return Serving(org_id="default", campaign_id="shoes", seq=seq, currency="EUR", **({"version": 1} | given))


def chunk(topic: str, records: list[bytes]) -> Chunk:
    payload = b"".join(record + b"\n" for record in records)
    return Chunk(topic, 0, payload, 0, len(payload))


def serving_of(*words: Serving, **made: Any) -> MemoryServing:
    serving = MemoryServing(**made)
    serving.take(chunk(topics.SERVING, [encode_serving(each) for each in words]))
    return serving


def served(serving: MemoryServing) -> Serving:
    state = serving.get("default", "shoes")
    assert state is not None
    return state


class People:
    """A control store whose records are heard."""

    def __init__(self, store: ControlStore) -> None:
        self.store = store
        self.log = MemoryLog()

    def put(self, **changes: Any) -> None:
        self.store.put_campaign(definition(**changes), changed_by="ana", now_ms=1)

    def override(self, action: Action) -> None:
        self.store.override("default", "shoes", action, changed_by="ana", now_ms=1)

    def heard_beside(self, state: Serving) -> Serving:
        """What is served when the word says `state` and the dataflow has said nothing since."""
        self.store.publish_outbox(self.log)
        serving = serving_of(state)
        serving.take_control(chunk(topics.CONTROL, self.log.records(topics.CONTROL)))
        return served(serving)


@pytest.fixture
def people(apis: Apis) -> People:
    made = People(apis.start().store)
    made.put()
    return made


def test_the_newest_word_is_served_whatever_the_order() -> None:
    for words in ((word(1), word(2, bid_micros=7)), (word(2, bid_micros=7), word(1))):
        assert served(serving_of(*words)) == word(2, bid_micros=7)
    assert [state.seq for state in serving_of(word(3)).of_organisation("default")] == [3]
    assert serving_of(word(3)).get("other", "shoes") is None


def test_a_record_that_is_none_is_left_out() -> None:
    serving = MemoryServing()
    serving.take(chunk(topics.SERVING, [b"{", b'{"key":"x"}', encode_serving(word(4))]))
    serving.take_control(chunk(topics.CONTROL, [b"{"]))
    assert served(serving).seq == 4


@pytest.mark.parametrize(
    ("said", "live", "spendable"), [(50, 40, 40), (40, 50, 40), (40, None, 40), (None, 50, 50), (None, None, None)]
)
def test_of_the_words_and_the_live_rows_figure_the_lower_may_be_spent(
    said: int | None, live: int | None, spendable: int | None
) -> None:
    serving = serving_of(word(spendable_micros=said), spendable_micros=lambda *_: live)
    assert served(serving).spendable_micros == spendable


def test_a_persons_pause_holds_while_the_dataflow_is_away(people: People) -> None:
    assert not people.heard_beside(word()).paused
    people.override(Action.PAUSE)
    held = people.heard_beside(word())
    assert (held.paused, held.pause_reason) == (True, "paused_by_person")
    # The dataflow has heard it, and an undo took it back.
    assert not people.heard_beside(word(override_version=1)).paused


@pytest.mark.parametrize("action", [Action.RESUME, Action.LIFT])
def test_a_pause_that_was_taken_back_holds_nothing(people: People, action: Action) -> None:
    people.override(Action.PAUSE)
    people.override(action)
    assert not people.heard_beside(word()).paused


def test_what_the_dataflow_paused_a_person_cannot_start_without_it(people: People) -> None:
    people.override(Action.PAUSE)
    people.override(Action.LIFT)
    paused = people.heard_beside(word(paused=True, pause_reason="daily_budget_reached"))
    assert paused.pause_reason == "daily_budget_reached"


@pytest.mark.parametrize("status", ["paused", "archived"])
def test_a_campaign_that_a_person_stopped_holds_while_the_dataflow_is_away(people: People, status: str) -> None:
    people.put(status=status)
    assert people.heard_beside(word(version=1)).paused
    people.put(status="active")
    assert not people.heard_beside(word(version=1)).paused


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
    log.append(topics.SERVING, 0, [encode_serving(word(paused=True, bid_micros=500))])
    await until(lambda: api.client.get("/readyz").status_code == 200)

    def shoes() -> dict[str, Any]:
        answer = api.client.get("/api/v1/campaigns/shoes/serving")
        return dict(answer.json()) if answer.status_code == 200 else {}

    await until(lambda: shoes().get("paused") and shoes()["bid_micros"] == 500)
    assert set(shoes()) == set(Serving.__struct_fields__)
    assert api.client.get("/api/v1/serving").json() == [shoes()]
    assert api.client.get("/api/v1/campaigns/hats/serving").status_code == 404


async def test_a_new_api_serves_what_expired_decisions_said(apis: Apis) -> None:
    first = apis.start()
    first.log.append(topics.DECISIONS, 0, [b"{}"])
    first.log.append(topics.SERVING, 0, [encode_serving(word(paused=True, pause_reason="total_budget_reached"))])
    apis.end()
    first.log.drop_before(topics.DECISIONS, 0, first.log.end(topics.DECISIONS, 0))
    again = apis.start(first.log)
    address = "/api/v1/campaigns/shoes/serving"
    await until(lambda: again.client.get(address).status_code == 200)
    served = again.client.get(address).json()
    assert (served["paused"], served["pause_reason"]) == (True, "total_budget_reached")
