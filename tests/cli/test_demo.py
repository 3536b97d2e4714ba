"""The demonstration sets itself up so that something happens within two minutes of every start."""

from __future__ import annotations

import pytest

from cli.demo import flash_budget_micros
from cli.demo_campaigns import CAMPAIGNS, FLASH, MARKET
from schemas.campaigns import Campaign

NIGHT_MS = 1_790_064_000_000  # 04:00 in New York
NOON_MS = NIGHT_MS + 8 * 3_600_000


@pytest.mark.parametrize("definition", CAMPAIGNS, ids=lambda c: c["campaign_id"])
def test_every_definition_is_valid(definition: dict[str, object]) -> None:
    assert Campaign.model_validate(definition).bidding is not None


def test_the_market_knows_every_campaign_but_the_scheduled_one() -> None:
    assert {c["campaign_id"] for c in CAMPAIGNS} - {d.campaign_id for d in MARKET} == {"summer-launch"}


def test_the_flash_deal_gets_less_at_night_when_it_spends_less() -> None:
    assert flash_budget_micros(None, "2026-09-22", NIGHT_MS) < flash_budget_micros(None, "2026-09-22", NOON_MS) / 3


def test_a_start_later_the_same_day_adds_to_the_budget() -> None:
    first = flash_budget_micros(None, "2026-09-22", NOON_MS)
    current = {"campaign_id": FLASH, "name": "Flash deal, 2026-09-22 only", "daily_budget_micros": first}
    assert flash_budget_micros(current, "2026-09-22", NOON_MS) == 2 * first
    assert flash_budget_micros(current, "2026-09-23", NOON_MS) == first
