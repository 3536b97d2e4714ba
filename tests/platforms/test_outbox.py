"""A decision is in effect once: newest per field, receipts remembered, retries with growing waits."""

from __future__ import annotations

import msgspec
import pytest

from platforms.model import Applied, Rejected, Retry
from platforms.outbox import RETRY_FOR_MS, Outbox
from platforms.registry import ADAPTERS
from schemas.campaigns import Campaign, PlatformLink
from schemas.decisions import Decision, Kind, Reason
from tests.support.decisions import decision_of

TIKTOK = PlatformLink(platform="tiktok", account_id="7001", campaign_ref="1801", ad_group_ref="1802")
META = PlatformLink(platform="facebook", account_id="act_1", campaign_ref="42", ad_group_ref="43")
CAMPAIGN = Campaign(campaign_id="c", name="c", currency="USD", platforms=[TIKTOK])


def decision(number: int, kind: Kind = Kind.PAUSE, **after: object) -> Decision:
    return decision_of(
        decision_id=f"d{number}", org_id="default", campaign_id="c", kind=kind.value,
        reason=Reason.DAILY_BUDGET_REACHED.value, ts_ms=0, effective_ms=0, before={}, after=after,
        inputs={}, policy="t",
    )  # fmt: skip


@pytest.fixture
def outbox() -> Outbox:
    return Outbox(ADAPTERS, frozenset({"tiktok", "facebook"}))


def test_a_decision_is_sent_once_and_its_receipt_says_applied(outbox: Outbox) -> None:
    assert outbox.offer(0, decision(0), CAMPAIGN, 0) == []
    [sending] = outbox.due(0)
    assert outbox.due(0) == []
    assert outbox.answered(sending, Applied("q"), 200, 5).state == "applied"
    assert outbox.waiting == {}


def test_a_decision_offered_again_is_not_sent_again(outbox: Outbox) -> None:
    outbox.offer(0, decision(0), CAMPAIGN, 0)
    outbox.answered(outbox.due(0)[0], Applied(), 200, 5)
    assert outbox.offer(0, decision(0), CAMPAIGN, 10_000) == []
    assert outbox.due(10_000) == []


def test_after_a_restart_receipts_keep_a_decision_from_being_sent_again(outbox: Outbox) -> None:
    outbox.offer(0, decision(0), CAMPAIGN, 0)
    receipt = outbox.answered(outbox.due(0)[0], Applied(), 200, 5)
    restarted = Outbox(ADAPTERS, frozenset({"tiktok"}))
    restarted.restore(receipt)
    assert restarted.offer(0, decision(0), CAMPAIGN, 10_000) == []
    assert restarted.due(10_000) == []


def test_an_older_decision_never_undoes_a_newer_one(outbox: Outbox) -> None:
    outbox.offer(7, decision(7, Kind.RESUME), CAMPAIGN, 0)
    outbox.answered(outbox.due(0)[0], Applied(), 200, 5)
    [receipt] = outbox.offer(3, decision(3, Kind.PAUSE), CAMPAIGN, 10_000)
    assert receipt.state == "superseded"
    assert outbox.due(10_000) == []


def test_of_two_waiting_decisions_on_one_field_only_the_newer_is_sent(outbox: Outbox) -> None:
    outbox.offer(0, decision(0, Kind.SET_BID, bid_micros=1_000_000), CAMPAIGN, 0)
    [receipt] = outbox.offer(1, decision(1, Kind.SET_BID, bid_micros=2_000_000), CAMPAIGN, 1)
    assert (receipt.decision_id, receipt.state) == ("d0", "superseded")
    assert [s.decision.decision_id for s in outbox.due(1)] == ["d1"]


def test_a_newer_decision_that_comes_while_the_older_is_in_flight_is_still_sent(outbox: Outbox) -> None:
    outbox.offer(0, decision(0, Kind.PAUSE), CAMPAIGN, 0)
    [older] = outbox.due(0)
    outbox.offer(1, decision(1, Kind.RESUME), CAMPAIGN, 1)
    outbox.answered(older, Applied(), 200, 5)
    assert [s.decision.decision_id for s in outbox.due(10_000)] == ["d1"]


def test_accounts_do_not_wait_for_each_other(outbox: Outbox) -> None:
    both = CAMPAIGN.model_copy(update={"platforms": [TIKTOK, META]})
    outbox.offer(0, decision(0), both, 0)
    assert {s.link.platform for s in outbox.due(0)} == {"tiktok", "facebook"}


def test_an_account_sends_no_faster_than_its_platform_allows(outbox: Outbox) -> None:
    outbox.offer(0, decision(0), CAMPAIGN, 0)
    outbox.offer(1, decision(1, Kind.SET_BID, bid_micros=2_000_000), CAMPAIGN, 0)
    [first] = outbox.due(0)
    outbox.answered(first, Applied(), 200, 10)
    assert outbox.due(10) == []
    assert len(outbox.due(200)) == 1


def test_a_platform_that_is_down_is_tried_again_with_growing_waits(outbox: Outbox) -> None:
    outbox.offer(0, decision(0), CAMPAIGN, 0)
    now, waits = 0, []
    for _ in range(4):
        [sending] = outbox.due(now)
        assert outbox.answered(sending, Retry("503", "down"), 503, now).state == "retrying"
        waits.append(sending.due_ms - now)
        now = sending.due_ms
    assert waits == [1_000, 2_000, 4_000, 8_000]


def test_a_platform_that_says_when_is_left_alone_until_then(outbox: Outbox) -> None:
    outbox.offer(0, decision(0), CAMPAIGN, 0)
    outbox.answered(outbox.due(0)[0], Retry("429", "slow down", after_s=180.0), 429, 0)
    assert outbox.due(179_999) == []
    assert len(outbox.due(180_000)) == 1


def test_after_a_day_of_failures_a_sending_is_parked_for_a_person(outbox: Outbox) -> None:
    outbox.offer(0, decision(0), CAMPAIGN, 0)
    [sending] = outbox.due(0)
    assert outbox.answered(sending, Retry("503", "down"), 503, RETRY_FOR_MS).state == "parked"
    assert outbox.waiting == {}


def test_a_refusal_is_final_and_keeps_the_platform_s_words(outbox: Outbox) -> None:
    outbox.offer(0, decision(0), CAMPAIGN, 0)
    receipt = outbox.answered(outbox.due(0)[0], Rejected("40002", "lower than the minimum", "q"), 200, 0)
    assert (receipt.state, receipt.error_code, receipt.message) == ("rejected", "40002", "lower than the minimum")


def test_without_credentials_the_requests_are_recorded_and_not_sent() -> None:
    dry = Outbox(ADAPTERS, frozenset())
    [receipt] = dry.offer(0, decision(0), CAMPAIGN, 0)
    assert receipt.state == "dry_run"
    assert receipt.requests[0]["body"] == {
        "advertiser_id": "7001", "campaign_ids": ["1801"], "operation_status": "DISABLE",
    }  # fmt: skip
    assert dry.due(0) == []


def test_a_control_that_the_platform_lacks_says_so(outbox: Outbox) -> None:
    [receipt] = outbox.offer(0, decision(0, Kind.SET_BID_MODIFIERS, modifiers={"device=mobile": 1.2}), CAMPAIGN, 0)
    assert receipt.state == "unsupported"


def test_only_what_is_final_may_be_committed(outbox: Outbox) -> None:
    outbox.offer(5, decision(5), CAMPAIGN, 0)
    assert outbox.done_before(next_offset=9) == 5
    outbox.answered(outbox.due(0)[0], Applied(), 200, 0)
    assert outbox.done_before(next_offset=9) == 9


def test_a_link_that_bids_per_click_is_sent_the_cpm_divided_by_the_click_rate(outbox: Outbox) -> None:
    per_click = CAMPAIGN.model_copy(update={"platforms": [TIKTOK.model_copy(update={"bids_per": "click"})]})
    bid = decision(0, Kind.SET_BID, bid_micros=2_000_000)
    bid.inputs.ctr = 0.002
    assert outbox.offer(0, bid, per_click, 0) == []
    [sending] = outbox.due(0)
    assert sending.requests[0].body["bid_price"] == 1.0


def test_a_link_that_bids_per_thousand_is_sent_the_cpm_whatever_the_click_rate(outbox: Outbox) -> None:
    bid = decision(0, Kind.SET_BID, bid_micros=2_000_000)
    bid.inputs.ctr = 0.002
    outbox.offer(0, bid, CAMPAIGN.model_copy(update={"platforms": [TIKTOK]}), 0)
    assert outbox.due(0)[0].requests[0].body["bid_price"] == 2.0


@pytest.mark.parametrize(
    ("inputs", "micros", "said"),
    [
        pytest.param({}, 2_000_000, "no click rate", id="no click rate yet"),
        pytest.param({"ctr": 0.0}, 2_000_000, "no click rate", id="no clicks"),
        pytest.param({"ctr": float("nan")}, 2_000_000, "no click rate", id="not a number"),
        pytest.param({"ctr": 1.0}, 2_000, "smallest amount", id="less than a cent a click"),
    ],
)
def test_a_bid_per_click_that_cannot_be_made_says_why(
    outbox: Outbox, inputs: dict[str, float], micros: int, said: str
) -> None:
    per_click = CAMPAIGN.model_copy(update={"platforms": [TIKTOK.model_copy(update={"bids_per": "click"})]})
    bid = decision(0, Kind.SET_BID, bid_micros=micros)
    bid.inputs = msgspec.structs.replace(bid.inputs, **inputs)
    [receipt] = outbox.offer(0, bid, per_click, 0)
    assert receipt.state == "unsupported"
    assert said in (receipt.message or "")


def test_a_daily_budget_does_not_take_the_place_of_a_total_one(outbox: Outbox) -> None:
    outbox.offer(0, decision(0, Kind.SET_BUDGET, total_budget_micros=900_000_000), CAMPAIGN, 0)
    assert outbox.offer(1, decision(1, Kind.SET_BUDGET, daily_budget_micros=90_000_000), CAMPAIGN, 0) == []
    assert len(outbox.waiting) == 2


def test_a_pause_goes_before_bids_that_waited_longer(outbox: Outbox) -> None:
    others = [CAMPAIGN.model_copy(update={"platforms": [TIKTOK.model_copy(update={"campaign_ref": r})]}) for r in "ab"]
    outbox.offer(0, decision(0, Kind.SET_BID, bid_micros=2_000_000), others[0], 0)
    outbox.offer(1, decision(1), others[1], 0)
    assert [sending.decision.decision_id for sending in outbox.due(0)] == ["d1"]
