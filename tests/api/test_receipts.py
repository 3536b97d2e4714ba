"""What became of decisions on ad platforms, over REST."""

from __future__ import annotations

from typing import Any

from schemas import topics
from schemas.receipts import Receipt, encode_receipt
from tests.api.conftest import Api
from tests.support.until import until


def receipt(
    number: int, state: str, campaign_id: str = "c", org_id: str = "default", kind: str = "pause", ref: str = ""
) -> bytes:
    return encode_receipt(
        Receipt(
            receipt_id=f"r{number}", decision_id=f"d{number}", decision_offset=number, org_id=org_id,
            campaign_id=campaign_id, kind=kind, platform="tiktok", account_id="1", campaign_ref=ref or f"ref-{number}",
            state=state,
            attempts=1, ts_ms=number,
        )
    )  # fmt: skip


def listed(api: Api, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.client.get(f"/api/v1/receipts{query}").json()
    return found


async def test_the_last_word_of_each_sending_is_listed_newest_first(api: Api) -> None:
    api.log.append(topics.RECEIPTS, 0, [receipt(1, "retrying"), receipt(2, "applied"), receipt(1, "applied")])
    await until(lambda: len(listed(api)) == 2)
    assert [(r["receipt_id"], r["state"]) for r in listed(api)] == [("r1", "applied"), ("r2", "applied")]


async def test_trouble_can_be_asked_for_alone(api: Api) -> None:
    states = ("applied", "retrying", "rejected", "parked", "dry_run")
    api.log.append(topics.RECEIPTS, 0, [receipt(n, state) for n, state in enumerate(states)])
    await until(lambda: len(listed(api)) == 5)
    assert {r["state"] for r in listed(api, "?troubled=true")} == {"retrying", "rejected", "parked"}


async def test_a_newer_decision_in_effect_ends_the_trouble_of_an_older_one(api: Api) -> None:
    api.log.append(topics.RECEIPTS, 0, [
        receipt(1, "rejected", ref="x"),
        receipt(2, "rejected", ref="x", kind="set_bid"),
        receipt(3, "applied", ref="x", kind="resume"),
        receipt(4, "rejected", ref="x"),
    ])  # fmt: skip
    await until(lambda: len(listed(api)) == 4)
    assert [r["receipt_id"] for r in listed(api, "?troubled=true")] == ["r4", "r2"]


async def test_receipts_of_one_campaign_can_be_asked_for(api: Api) -> None:
    api.log.append(topics.RECEIPTS, 0, [receipt(1, "applied", "a"), receipt(2, "applied", "b")])
    await until(lambda: len(listed(api)) == 2)
    assert [r["campaign_id"] for r in listed(api, "?campaign_id=b")] == ["b"]


async def test_another_organisation_s_receipts_are_not_shown(api: Api) -> None:
    api.log.append(topics.RECEIPTS, 0, [receipt(1, "applied", org_id="other"), receipt(2, "applied")])
    await until(lambda: len(listed(api)) == 1)
    assert [r["receipt_id"] for r in listed(api)] == ["r2"]
