"""Records of topic `kpis`: numbers and texts packed, and what is refused."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.kpis import KpiBatch, KpiColumns, Owners, Packed, VerdictCounters
from storage.store.tables import kpi_table

INT64 = st.integers(-(2**63), 2**63 - 1)


def columns() -> KpiColumns:
    """Three windows of two owners."""
    return KpiColumns(
        org_id=["o", "o", "o"],
        campaign_id=["hats", "shoes", "hats"],
        level=["campaign", "series", "campaign"],
        creative_id=["", "c1", ""],
        channel=["", "display", ""],
        country=["", "DE", ""],
        device=["", "mobile", ""],
        window=["10s", "1h", "day"],
        window_start_ms=[1_790_000_000_000, 1_790_000_000_000, 1_789_990_000_000],
        window_end_ms=[1_790_000_010_000, 1_790_003_600_000, 1_790_076_400_000],
        impressions=[1, 2, 70_000],
        clicks=[0, 0, 0],
        conversions=[0, 1, 3],
        leads=[0, 0, 0],
        spend_micros=[1_000_000, 2**62, 0],
        revenue_micros=[0, 0, -5],
        reach=[1, 2, 3],
        version=[1, 3, 70_003],
        closed=[1, 0, 0],
    )


@given(st.lists(INT64))
def test_packed_numbers_are_the_numbers_that_were_packed(numbers: list[int]) -> None:
    assert Packed.of(np.array(numbers, np.int64)).numbers().tolist() == numbers


@given(st.lists(st.integers(0, 255), min_size=1), st.integers(-(2**62), 2**62))
def test_numbers_that_are_close_together_take_a_byte_each(offsets: list[int], base: int) -> None:
    assert len(Packed.of(np.array(offsets, np.int64) + base).values) == len(offsets)


def test_a_record_gives_back_the_windows_it_was_made_of() -> None:
    raw = msgspec.json.encode(columns().packed())
    batch = msgspec.json.decode(raw, type=KpiBatch)
    assert batch.columns() == columns()
    assert len(batch) == 3


def test_an_owner_is_named_once_a_record() -> None:
    owners = columns().packed().owners
    assert isinstance(owners, Owners)
    assert len(owners) == 2
    assert owners.texts.count("hats") == owners.texts.count("o") == owners.texts.count("") == 1
    assert [owners.texts[code] for code in owners.campaign_id.numbers()] == ["hats", "shoes"]


def test_a_record_of_an_older_version_names_its_owners_one_by_one() -> None:
    record = msgspec.to_builtins(columns().packed())
    record["owners"] = [["o", "hats", "", "", "", ""], ["o", "shoes", "c1", "display", "DE", "mobile"]]
    old = msgspec.json.decode(msgspec.json.encode(record), type=KpiBatch)
    old.check()
    assert old.columns() == columns()
    assert kpi_table([msgspec.json.encode(record)]) == kpi_table([msgspec.json.encode(columns().packed())])


@pytest.mark.parametrize(
    ("name", "column"),
    [
        pytest.param("owner", Packed.of(np.array([0, 1, 2])), id="an owner that is not there"),
        pytest.param("level", Packed.of(np.array([0, 1, 2])), id="a level that is not there"),
        pytest.param("window", Packed.of(np.array([0, 1, -1])), id="a window that is not there"),
        pytest.param("clicks", Packed.of(np.array([0, 1])), id="a column that is too short"),
        pytest.param("closed", Packed.of(np.array([0, 1])), id="closed windows told of two of three"),
        pytest.param("reach", Packed(0, 3, b"123456789"), id="a width that numbers do not have"),
        pytest.param("spend_micros", Packed(0, 2, b"12345"), id="bytes that are no whole numbers"),
    ],
)
def test_a_record_that_is_not_whole_is_refused(name: str, column: Packed) -> None:
    with pytest.raises(ValueError, match=r".+"):
        msgspec.structs.replace(columns().packed(), **{name: column}).check()


def test_a_record_of_before_closed_windows_were_told_says_of_none_that_it_is_closed() -> None:
    old = {name: value for name, value in msgspec.to_builtins(columns().packed()).items() if name != "closed"}
    batch = msgspec.json.decode(msgspec.json.encode(old), type=KpiBatch)
    batch.check()
    assert batch.closed_windows().tolist() == batch.columns().closed == [0, 0, 0]


def test_counters_of_a_verdict_are_absent_until_there_are_some_and_as_long_as_the_others() -> None:
    batch = columns().packed()
    assert "suspect" not in msgspec.to_builtins(batch)
    three, two = Packed.of(np.array([1, 0, 7])), Packed.of(np.array([1, 0]))
    batch.invalid = VerdictCounters(impressions=three, clicks=three, spend_micros=three)
    again = msgspec.json.decode(msgspec.json.encode(batch), type=KpiBatch)
    again.check()
    assert isinstance(again.invalid, VerdictCounters)
    assert again.invalid.clicks.numbers().tolist() == [1, 0, 7]
    batch.invalid.clicks = two
    with pytest.raises(ValueError, match=r"column invalid\.clicks has 2 rows of 3"):
        batch.check()


@pytest.mark.parametrize(
    ("name", "column"),
    [
        pytest.param("country", Packed.of(np.array([0, 99])), id="a text that is not there"),
        pytest.param("device", Packed.of(np.array([0, 0, 0])), id="more owners than there are"),
        pytest.param("org_id", Packed(0, 3, b"123456789"), id="a width that numbers do not have"),
    ],
)
def test_owners_that_are_not_whole_are_refused(name: str, column: Packed) -> None:
    batch = columns().packed()
    assert isinstance(batch.owners, Owners)
    batch.owners = msgspec.structs.replace(batch.owners, **{name: column})
    with pytest.raises(ValueError, match=r".+"):
        batch.check()
