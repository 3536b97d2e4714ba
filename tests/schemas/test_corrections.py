"""Corrections as records: what may be in one, and what older and newer versions make of it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from ingest.local_log.freeze import CUT_ORDER
from schemas.control import OrderEntry, encode_order, read_order
from schemas.corrections import (
    Cause,
    Correction,
    Grain,
    UnknownCauseError,
    decode_correction,
    encode_correction,
)
from schemas.topics import ALL, CORRECTIONS, CORRECTIONS_APPLIED, EVENTS, LIVE, ORDER

NOW_MS = 1_700_000_000_000


def correction(**given: Any) -> Correction:
    said: dict[str, Any] = {
        "correction_id": "k1", "org_id": "default", "campaign_id": "c1", "ts_ms": NOW_MS, "cause": Cause.REFUND,
        "spend_micros": -5,
    }  # fmt: skip
    return Correction(**(said | given))


def test_an_entry_without_corrections_has_the_bytes_that_it_always_had() -> None:
    assert encode_order(OrderEntry(offset=1, now_ms=2)) == b'{"offset":1,"now_ms":2,"control":[]}'


def test_an_entry_brings_its_corrections() -> None:
    entry = OrderEntry(offset=1, now_ms=2, corrections=[correction()])
    assert read_order(encode_order(entry)).entry == entry


class OlderEntry(msgspec.Struct, kw_only=True):
    """`OrderEntry` before there were corrections."""

    offset: int
    now_ms: int
    control: list[dict[str, Any]] = []


def test_an_older_flow_reads_an_entry_as_if_it_had_no_corrections() -> None:
    entry = msgspec.json.decode(
        encode_order(OrderEntry(offset=1, now_ms=2, corrections=[correction()])), type=OlderEntry
    )
    assert entry == OlderEntry(offset=1, now_ms=2)


@pytest.mark.parametrize("newer", [{"cause": "act_of_god"}, {"grain": "minute"}])
def test_a_correction_that_only_a_newer_version_knows_is_skipped_and_the_rest_of_the_entry_is_in_force(
    newer: dict[str, str],
) -> None:
    unknown = json.loads(encode_correction(correction(correction_id="k2"))) | newer
    with pytest.raises(UnknownCauseError):
        decode_correction(json.dumps(unknown).encode())
    known = json.loads(encode_correction(correction()))
    record = json.dumps({"offset": 1, "now_ms": 2, "control": [], "corrections": [unknown, known]}).encode()
    read = read_order(record)
    assert read.entry == OrderEntry(offset=1, now_ms=2, corrections=[correction()])
    assert (read.skipped, read.skipped_corrections) == (0, 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"impressions": 10**9 + 1}, "impressions changes by 1000000001"),
        ({"revenue_micros": -(10**15) - 1}, "revenue_micros changes by"),
        ({"ts_ms": 0}, "2000 to 2100"),
        ({"ts_ms": 10**17}, "2000 to 2100"),
        ({"creative_id": "x" * 2_049}, "creative_id has 2049 bytes"),
        ({"campaign_id": "\u00e9" * 65}, "campaign_id has 130 bytes"),
        ({"campaign_id": ""}, "names its id"),
        ({"note": "n" * 501}, "the note has 501 characters"),
    ],
)
def test_a_correction_beyond_its_bounds_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        decode_correction(encode_correction(correction(**given)))


def test_a_correction_of_the_day_says_so() -> None:
    assert decode_correction(encode_correction(correction(grain=Grain.DAY))).grain is Grain.DAY


def test_a_backup_is_cut_so_that_nothing_speaks_of_what_it_has_not() -> None:
    assert set(CUT_ORDER) == set(ALL) - {LIVE}
    places = [CUT_ORDER.index(topic) for topic in (CORRECTIONS_APPLIED, ORDER, CORRECTIONS, EVENTS)]
    assert places == sorted(places)
