"""Bounds of what a shard keeps apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flows.logic.campaigns.registry import OTHER, CampaignKey, Limits, Registry
from flows.logic.campaigns.series_index import IndexArrays
from flows.logic.step import Step
from schemas.batch import EventBatch
from schemas.decode import SeriesTable
from tests.flows.logic.stream import Ev, Flow, Tick, batch_of, definition, hashed, steps_of
from tests.support.series import series_of

T0 = 1_790_000_000_000


def impressions_of(flow: Flow, level: str, window: str) -> dict[tuple[str, str], int]:
    return {
        (campaign, creative): numbers[1]
        for (campaign, one_level, creative, one_window, _), numbers in flow.drain().windows().items()
        if (one_level, one_window) == (level, window)
    }


def test_series_beyond_the_bound_of_a_campaign_are_counted_together() -> None:
    events = [Ev(k, T0, "ab"[k % 2], f"x{k}") for k in range(12)]
    flow = Flow(limits=Limits(series_per_campaign=2)).run(steps_of(events, 5, T0))
    counted = impressions_of(flow, "series", "10s")
    assert counted == {
        ("a", "x0"): 1,
        ("a", "x2"): 1,
        ("a", OTHER): 4,
        ("b", "x1"): 1,
        ("b", "x3"): 1,
        ("b", OTHER): 4,
    }
    assert impressions_of(flow, "campaign", "10s") == {("a", ""): 6, ("b", ""): 6}
    assert flow.campaigns[0].registry.folded == {"o": 8}


def test_unknown_campaigns_beyond_the_bound_are_counted_together_and_defined_ones_are_not() -> None:
    defined = Tick(T0, (definition("known", total_budget_micros=1),))
    events = [*(Ev(k, T0, f"c{k}") for k in range(6)), Ev(9, T0, "known", cost=1)]
    flow = Flow(limits=Limits(campaigns=3)).run(steps_of([*events[:3], defined, *events[3:]], 10, T0))
    counted = impressions_of(flow, "campaign", "10s")
    assert counted == {("c0", ""): 1, ("c1", ""): 1, ("c2", ""): 1, (OTHER, ""): 3, ("known", ""): 1}
    assert [d.campaign_id for d in flow.decisions()] == ["known"]


def test_memory_does_not_grow_under_series_that_never_come_again() -> None:
    flow, sizes = Flow(limits=Limits(series_per_campaign=300)), []
    hour_ms, key = 3_600_000, 0
    for hour in range(100):
        now_ms = T0 + hour * hour_ms
        events = [(n, Ev(key + n, now_ms + n, "a", f"x{key + n}", actor=key + n)) for n in range(200)]
        key += len(events)
        flow.run([Step(0, 0, 1, now_ms, 0, batch=batch_of(events)), Step(0, 1, 1, now_ms, 0, tick=True)])
        flow.outputs.clear()
        sizes.append(flow.campaigns[0].arrays.memory_bytes())
    assert sizes[-1] == sizes[40]
    assert flow.campaigns[0].registry.series_count <= 301


def test_columns_of_series_that_grow_in_place_are_followed() -> None:
    flow, table = Flow(), SeriesTable()
    for position, creative in enumerate("xyyxz"):
        batch = batch_of([(position, Ev(position, T0, "a", creative))])
        key = batch.series.key(0)
        batch.series = series_of([key], table)
        batch.series_code[:] = batch.series.every_key().index(key)
        flow.run([Step(0, position, position + 1, T0, 0, batch=batch)])
    assert impressions_of(flow, "series", "10s") == {("a", "x"): 2, ("a", "y"): 2, ("a", "z"): 1}


def test_texts_with_any_character_survive_a_restart() -> None:
    creative = 'semi;"\x1f\x1e\n☃'
    flow = (
        Flow()
        .run(steps_of([Ev(1, T0, "a", creative)], 1, T0))
        .restart()
        .run(steps_of([Ev(2, T0, "a", creative)], 1, T0))
    )
    assert impressions_of(flow, "series", "10s") == {("a", creative): 2}


def of_org(org_id: str, batch: EventBatch) -> EventBatch:
    """The batch with its events moved to another organisation."""
    batch.series = series_of([key._replace(org_id=org_id) for key in batch.series.every_key()])
    batch.event_hash = batch.event_hash ^ np.uint64(hashed(org_id))
    return batch


def test_a_flood_of_one_organisation_leaves_another_its_campaigns_and_budgets() -> None:
    flow, offset = Flow(dedupe_ids=262_144), 0
    for first in range(0, 80_000, 8_000):
        flood = [(offset + k, Ev(first + k, T0, f"made-up-{first + k}")) for k in range(8_000)]
        flow.run([Step(0, offset, offset + len(flood), T0, 0, batch=of_org("loud", batch_of(flood)))])
        offset += len(flood)
    early = [(offset + k, Ev(90_000 + k, T0, "shoes", cost=7)) for k in range(3)]
    late = [(offset + 10 + k, Ev(90_010 + k, T0, "shoes", cost=7)) for k in range(10)]
    # Series of the same list, so that what was looked up before the definition is what would be used after it.
    batches = [of_org("quiet", batch_of(rows)) for rows in (early, late)]
    batches[1].series = batches[0].series
    record = definition("shoes", total_budget_micros=50)
    record.org_id = record.campaign["org_id"] = "quiet"
    flow.run([Step(0, offset, offset + 10, T0, 0, batch=batches[0])])
    flow.run([Step(0, offset + 10, offset + 10, T0 + 1, 0, tick=True, control=[record])])
    flow.run([Step(0, offset + 10, offset + 20, T0 + 1, 0, batch=batches[1])])
    registry = flow.campaigns[0].registry
    assert registry.campaigns.get(CampaignKey("quiet", "shoes")) is not None
    assert registry.campaigns.get(CampaignKey("quiet", OTHER)) is None
    [pause] = flow.decisions()
    assert (pause.org_id, pause.campaign_id, pause.inputs.spend_micros) == ("quiet", "shoes", 56)
    assert pause.cause_event == f"events/0@{offset + 14}"
    assert registry.folded == {"loud": 80_000 - 65_536}
    assert sum(output.folded.get("loud", 0) for output in flow.outputs) == 80_000 - 65_536


def test_a_campaign_that_was_folded_gets_its_own_slot_when_it_is_defined_and_its_budget_holds() -> None:
    flow = Flow(limits=Limits(campaigns=1))
    first = batch_of([(0, Ev(1, T0, "a")), (10, Ev(2, T0, "b", cost=9))])
    flow.run([Step(0, 0, 20, T0, 0, batch=first)])
    budget = definition("b", total_budget_micros=20)
    flow.run([Step(0, 20, 20, T0 + 1, 0, tick=True, control=[budget])])
    after = batch_of([(20 + 10 * k, Ev(3 + k, T0 + 2, "b", cost=9)) for k in range(4)])
    after.series_code = np.full(4, first.series.every_key().index(after.series.key(0)), np.int32)
    after.series = first.series
    flow.run([Step(0, 20, 60, T0 + 2, 0, batch=after)])
    [pause] = flow.decisions()
    assert (pause.campaign_id, pause.cause_event) == ("b", "events/0@40")
    assert impressions_of(flow, "campaign", "10s") == {("a", ""): 1, (OTHER, ""): 1, ("b", ""): 4}


def test_which_campaigns_are_folded_is_the_same_after_a_restart() -> None:
    hours = [Tick(T0 + h * 3_600_000) for h in range(1, 60)]
    events = [Ev(1, T0, "a"), Ev(2, T0, "b"), *hours, Ev(3, T0 + 216_000_000, "b"), Ev(4, T0 + 216_000_000, "c")]
    steps = steps_of([Tick(T0), *events], 1, T0)
    flow, restarted = Flow(limits=Limits(campaigns=1)).run(steps), Flow(limits=Limits(campaigns=1))
    for step in steps:
        restarted.run([step]).restart()
    assert flow.drain().windows() == restarted.drain().windows()
    assert plain(flow.campaigns[0].registry.snapshot()) == plain(restarted.campaigns[0].registry.snapshot())


def plain(snapshot: dict[str, Any]) -> dict[str, Any]:
    """A snapshot that can be compared: where texts lie does not count."""
    snapshot = snapshot | {"series": snapshot["series"][["hash", "lengths", "campaign", "total"]]}
    compared = {name: part for name, part in snapshot.items() if name != "text"}
    return {name: part.tolist() if isinstance(part, np.ndarray) else part for name, part in compared.items()}


@pytest.mark.parametrize("campaigns", [0, 1, 32, 33, 67, 1_000, 10_000])
def test_a_restart_has_tables_in_which_every_campaign_finds_a_place(campaigns: int) -> None:
    """Look-ups go around a table by its size less one as a mask, so that must be a power of two."""
    arrays = IndexArrays(np.uint64(1))
    arrays.clear_campaigns(campaigns)
    size = len(arrays.index.campaign_table)
    assert size >= 4 * campaigns
    assert size & (size - 1) == 0


def test_a_registry_of_many_campaigns_starts_again_and_takes_more() -> None:
    registry = Registry(Limits())
    for number in range(67):
        registry.campaign(CampaignKey("o", f"c{number}"))
    again = Registry(Limits())
    again.load(registry.snapshot())
    for number in range(400):
        assert again.campaign(CampaignKey("o", f"c{number}")) == number


def test_a_registry_of_many_organisations_starts_again() -> None:
    registry = Registry(Limits())
    for number in range(200):
        registry.campaign(CampaignKey(f"o{number}", "c"))
    again = Registry(Limits())
    again.load(registry.snapshot())
    assert [again.campaign(CampaignKey(f"o{number}", "c")) for number in range(200)] == list(range(200))
