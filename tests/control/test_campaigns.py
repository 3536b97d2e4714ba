"""Campaign definitions: versions, history, going back."""

from __future__ import annotations

from typing import Any

import pytest

from control.errors import FixedFieldError, UnknownCampaignError, UnknownVersionError, VersionConflictError
from control.store import ControlStore
from schemas.campaigns import Campaign


def campaign(**changes: Any) -> Campaign:
    fields = {"campaign_id": "shoes", "name": "Shoes", "currency": "EUR", "daily_budget_micros": 5_000_000}
    return Campaign.model_validate(fields | changes)


def put(store: ControlStore, definition: Campaign, **options: Any) -> int:
    return store.put_campaign(definition, changed_by="ana", now_ms=1_000, **options)


def test_the_first_definition_has_version_1_and_each_change_one_more(store: ControlStore) -> None:
    assert [put(store, campaign()), put(store, campaign(daily_budget_micros=6_000_000))] == [1, 2]
    stored = store.campaign("default", "shoes")
    assert (stored.version, stored.definition.daily_budget_micros) == (2, 6_000_000)


def test_an_unchanged_definition_makes_no_new_version(store: ControlStore) -> None:
    assert [put(store, campaign()), put(store, campaign())] == [1, 1]
    assert len(store.changes("default", "shoes")) == 1


def test_every_change_says_who_made_it_when_and_from_what_to_what(store: ControlStore) -> None:
    put(store, campaign())
    store.put_campaign(campaign(name="Boots"), changed_by="ben", now_ms=2_000)
    last = store.changes("default", "shoes")[-1]
    assert last.before is not None
    assert (last.changed_by, last.changed_ms, last.before.name, last.after.name) == ("ben", 2_000, "Shoes", "Boots")


@pytest.mark.parametrize("expected", [0, 1, 3], ids=["thought_new", "read_before_a_change", "ahead"])
def test_a_change_of_another_version_than_the_one_read_is_refused(store: ControlStore, expected: int) -> None:
    put(store, campaign())
    put(store, campaign(name="Boots"))
    with pytest.raises(VersionConflictError):
        put(store, campaign(name="Hats"), expected_version=expected)
    assert put(store, campaign(name="Hats"), expected_version=2) == 3


def test_going_back_puts_the_former_definition_as_a_new_version(store: ControlStore) -> None:
    put(store, campaign())
    put(store, campaign(name="Boots"))
    assert store.revert_campaign("default", "shoes", 1, changed_by="ana", now_ms=3_000) == 3
    assert store.campaign("default", "shoes").definition == campaign()


def test_going_back_to_a_version_that_never_was_is_refused(store: ControlStore) -> None:
    put(store, campaign())
    with pytest.raises(UnknownVersionError):
        store.revert_campaign("default", "shoes", 7, changed_by="ana", now_ms=3_000)


def test_the_currency_of_a_campaign_cannot_change(store: ControlStore) -> None:
    put(store, campaign())
    with pytest.raises(FixedFieldError, match="currency is EUR"):
        put(store, campaign(currency="USD"))


def test_organisations_do_not_see_each_others_campaigns(store: ControlStore) -> None:
    put(store, campaign(org_id="acme"))
    assert store.campaigns("default") == []
    with pytest.raises(UnknownCampaignError):
        store.campaign("default", "shoes")
    with pytest.raises(UnknownCampaignError):
        store.changes("default", "shoes")


def test_campaigns_are_listed_by_id_page_by_page(store: ControlStore) -> None:
    for name in ("c", "a", "b"):
        put(store, campaign(campaign_id=name))
    first = store.campaigns("default", limit=2)
    rest = store.campaigns("default", after=first[-1].definition.campaign_id)
    assert [stored.definition.campaign_id for stored in first + rest] == ["a", "b", "c"]


def test_definitions_survive_a_restart(store: ControlStore) -> None:
    put(store, campaign())
    again = ControlStore.open(str(store.engine.url), None)  # type: ignore[arg-type]
    assert again.campaign("default", "shoes").definition == campaign()
    again.close()
