"""What is kept apart and what is counted together, against a plain model, whatever cuts, restarts and hashes."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.logic.campaigns import registry as registry_module
from flows.logic.campaigns.registry import GUARANTEED_PART, OTHER, CampaignKey, Limits, Registry
from flows.logic.output.text_codes import coded
from schemas.batch import EventBatch, SeriesColumns, SeriesKey
from schemas.decode import SeriesTable
from tests.support.series import series_of

LIMITS = Limits(series_per_campaign=3, series=2 * GUARANTEED_PART, campaigns=3)
OTHERS = (OTHER,) * 4


@dataclass
class Plain:
    """The registry's rules, one key after the other, with sets."""

    limits: Limits
    campaigns: set[CampaignKey] = field(default_factory=set)
    defined: set[CampaignKey] = field(default_factory=set)
    series: set[SeriesKey] = field(default_factory=set)

    def define(self, key: CampaignKey) -> None:
        self.campaigns.add(key)
        self.defined.add(key)

    def campaign(self, key: CampaignKey) -> CampaignKey:
        unknown = self.campaigns - self.defined
        own = sum(one.org_id == key.org_id for one in unknown)
        part = self.limits.campaigns // GUARANTEED_PART
        fits = len(unknown) < self.limits.campaigns or own < part
        if key not in self.campaigns and key.campaign_id != OTHER and not fits:
            key = CampaignKey(key.org_id, OTHER)
        self.campaigns.add(key)
        return key

    def place(self, key: SeriesKey) -> SeriesKey:
        """What an event of the series is counted under."""
        if key in self.series:
            return key
        wanted = CampaignKey(*key[:2])
        kept = self.campaign(wanted)
        of_campaign = sum(one[:2] == kept for one in self.series)
        own = sum(one.org_id == key.org_id for one in self.series)
        fits = len(self.series) < self.limits.series or own < self.limits.series // GUARANTEED_PART
        if kept != wanted or ((not fits or of_campaign >= self.limits.series_per_campaign) and key[2:] != OTHERS):
            key = SeriesKey(*kept, *OTHERS)
        self.series.add(key)
        return key

    def free(self, keys: set[SeriesKey]) -> None:
        self.series -= keys
        alive = {CampaignKey(*key[:2]) for key in self.series}
        self.campaigns = alive | self.defined


ORGS = st.sampled_from(["a", "b", "default"])
NAMES = st.sampled_from(["c1", "c2", "c3", "c4", "c5", OTHER])
TEXTS = st.sampled_from(["", "x", "y", "ü\x1f", OTHER])
KEYS = st.builds(
    SeriesKey, ORGS, NAMES, st.sampled_from(["x", "y", "z" * 100, OTHER]), st.just(""), TEXTS, TEXTS
) | st.builds(SeriesKey, ORGS, NAMES, *[st.just(OTHER)] * 1, st.just(""), *[st.just(OTHER)] * 2)
ROWS = st.lists(KEYS, max_size=30)
STEPS = st.lists(
    ROWS
    | st.builds(CampaignKey, ORGS, NAMES)
    | st.sampled_from(["restart", "new columns"])
    | st.tuples(st.just("free"), st.integers(0, 2**16)),
    max_size=14,
)


class Tried:
    """A registry fed as a shard feeds it, each key looked up through columns of series."""

    def __init__(self, cuts: int, *, collide: bool) -> None:
        self.registry, self.table = Registry(LIMITS), SeriesTable()
        self._cuts, self._collide = cuts, collide

    def place(self, keys: list[SeriesKey]) -> list[SeriesKey]:
        found: list[SeriesKey] = []
        size = max(1, self._cuts)
        for first in range(0, len(keys), size):
            found += self._place(keys[first : first + size])
        return found

    def _place(self, keys: list[SeriesKey]) -> list[SeriesKey]:
        columns = series_of(keys, self.table)
        known = columns.every_key()
        batch = batch_with(columns, [known.index(key) for key in keys])
        if self._cuts % 2:
            batch = pickle.loads(pickle.dumps(batch))
        if self._collide:
            series, campaigns = batch.series.series.copy(), batch.series.campaigns.copy()
            series["hash"], campaigns["hash"] = 7, 9
            batch.series = SeriesColumns(
                series, campaigns, batch.series.organisations, batch.series.text, batch.series.marks
            )
        slots = self.registry.slots(batch)
        self.registry.new_campaigns.clear()
        self.registry.take_new_series()
        return [self.registry.series_key(slot) for slot in slots.tolist()]

    def free(self, chosen: set[SeriesKey]) -> None:
        index = self.registry._arrays.index
        used = np.flatnonzero(index.series["campaign"][: index.marks[0]] >= 0).tolist()
        self.registry.free_series(np.array([s for s in used if self.registry.series_key(s) in chosen], np.int64))
        self.registry.free_campaigns(
            [
                slot
                for slot, _ in self.registry.campaigns.used()
                if slot not in self.registry.defined and self.registry.series_of_campaign(slot) == 0
            ]
        )

    def restart(self) -> None:
        snapshot = pickle.loads(pickle.dumps(self.registry.snapshot()))
        self.registry = Registry(LIMITS)
        self.registry.load(snapshot)


def batch_with(columns: SeriesColumns, codes: list[int]) -> EventBatch:
    """A batch of which only the series matter."""
    n = len(codes)
    numbers, hashes = np.zeros(n, np.int64), np.zeros(n, np.uint64)
    return EventBatch(
        position=numbers,
        type=np.zeros(n, np.uint8),
        ts_ms=numbers,
        cost_micros=numbers,
        revenue_micros=numbers,
        event_hash=hashes,
        actor=hashes,
        series_code=np.array(codes, np.int32),
        series=columns,
    )


@pytest.mark.parametrize("collide", [False, True], ids=["hashes as they are", "all hashes equal"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, cuts=st.integers(1, 9))
def test_series_are_kept_apart_as_the_plain_rules_say(
    monkeypatch: pytest.MonkeyPatch, collide: bool, steps: list[object], cuts: int
) -> None:
    if collide:
        monkeypatch.setattr(registry_module, "campaign_hash", lambda *_: np.uint64(9))
    plain, tried = Plain(LIMITS), Tried(cuts, collide=collide)
    for step in steps:
        if isinstance(step, list):
            assert tried.place(step) == [plain.place(key) for key in step]
        elif isinstance(step, CampaignKey):
            plain.define(step)
            tried.registry.campaign(step, defined=True)
        elif step == "restart":
            tried.restart()
        elif step == "new columns":
            tried.table = SeriesTable()
        else:
            chosen = {key for n, key in enumerate(sorted(plain.series)) if step[1] >> n % 16 & 1}  # type: ignore[index]
            plain.free(chosen)
            tried.free(chosen)
        assert tried.registry.series_count == len(plain.series)
        assert {key for _, key in tried.registry.campaigns.used()} >= plain.defined


def test_texts_of_forgotten_series_give_their_memory_back() -> None:
    registry, keys = Registry(Limits()), [SeriesKey("o", "c", f"{n:0100}", "", "", "") for n in range(20_000)]
    registry.slots(batch_with(series_of(keys), list(range(20_000))))
    full = len(registry.text)
    registry.free_series(np.arange(1, 16_384))
    assert len(registry.text) < full / 8
    assert registry.series_key(0) == keys[0]


def test_a_sender_who_names_a_creative_other_stays_within_the_bound() -> None:
    keys = [SeriesKey("o", "c", OTHER, "", f"land-{n}", "") for n in range(100)]
    registry = Registry(Limits(series_per_campaign=10))
    slots = registry.slots(batch_with(series_of(keys), list(range(100))))
    assert registry.series_count == 11
    assert registry.series_key(int(slots[-1])) == ("o", "c", *OTHERS)


@given(st.lists(st.text(max_size=12), max_size=40))
@settings(max_examples=100, deadline=None)
def test_coded_texts_are_the_texts_each_of_them_once(texts: list[str]) -> None:
    encoded = [text.encode() for text in texts]
    lengths = np.array([len(text) for text in encoded], np.int64)
    run = np.frombuffer(b"".join(encoded) + bytes(32), np.uint8)
    distinct, codes = coded(run, np.cumsum(lengths) - lengths, lengths)
    assert [distinct[code] for code in codes.tolist()] == texts
    assert distinct == list(dict.fromkeys(texts))
