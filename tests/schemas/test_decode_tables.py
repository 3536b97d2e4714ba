from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from schemas.decode import tables
from schemas.decode.keys import SLOT_BITS
from schemas.decode.series import SeriesTable
from schemas.decode.tables import TableError, key_table, listed_words
from schemas.events import EVENT_ID_PATTERN, MICROS_MAX, TS_MS_MAX, TS_MS_MIN

RANGES = ((0x2D, 0x2E), (0x30, 0x3A), (0x5F, 0x5F))
NUMBERS = ((TS_MS_MIN, TS_MS_MAX), MICROS_MAX, 18)

# What is made, and words of the sentence that says what is wrong with it.
BAD: dict[str, tuple[Callable[..., Any], tuple[Any, ...], str]] = {
    "two keys that begin alike": (key_table, (["campaign_id", "campaign_name"], 7), "same first 8 bytes"),
    "a key that is another cut off": (key_table, (["campaign_id", "campaign"], 7), "'campaign_id' and 'campaign'"),
    "the same key twice": (key_table, (["ts", "ts"], 7), "is there twice"),
    "more keys than places": (key_table, ([f"k{n}" for n in range(9)], 3), "raise SLOT_BITS"),
    "a key of 17 bytes": (key_table, (["a_very_long_field"], 7), "'a_very_long_fiel'"),
    "an empty key": (key_table, ([""], 7), "printable ASCII"),
    "a key of two-byte letters": (key_table, (["größe"], 7), "printable ASCII"),
    "a key with an escape": (key_table, (['a"b'], 7), "reads no escapes"),
    "no keys": (key_table, ([], 7), "at least one"),
    "a platform of 17 bytes": (listed_words, ({"platform": ["pinterestpinteres"]},), "would take 'pinterestpintere'"),
    "a platform that is filled up with zeros": (listed_words, ({"platform": ["sms\0"]},), "printable ASCII"),
    "an empty platform": (listed_words, ({"platform": ["other", ""]},), "printable ASCII"),
    "a platform twice": (listed_words, ({"platform": ["other", "other"]},), "is there twice"),
    "a field that may be nothing": (listed_words, ({"platform": []},), "at least one"),
    "an event type with code 0": (tables.require_types, ({"view": 0}, {"view": 0}), "it must be 1 to 255"),
    "an event type beyond a byte": (tables.require_types, ({"view": 256}, {"view": 256}), "it must be 1 to 255"),
    "an event type that is new": (tables.require_types, ({"a": 1, "view": 5}, {"a": 1}), "change type_code"),
    "an event type with another code": (tables.require_types, ({"a": 2}, {"a": 1}), "change type_code"),
    "ids with a slash": (tables.require_pattern, (r"^[A-Za-z0-9_.:\-/]{1,64}$", RANGES, 64), r"differ about \['/'\]"),
    "ids without a colon": (tables.require_pattern, (r"^[A-Za-z0-9_.\-]{1,64}$", RANGES, 64), r"differ about \[':'\]"),
    "ids of any letters": (tables.require_pattern, (r"^[\w.:\-]{1,64}$", RANGES, 64), "differ about"),
    "longer ids": (tables.require_pattern, (r"^[A-Za-z0-9_.:\-]{1,65}$", RANGES, 64), "take 1 to 64"),
    "ids that may be empty": (tables.require_pattern, (r"^[A-Za-z0-9_.:\-]{0,64}$", RANGES, 64), "take 1 to 64"),
    "times from 0 on": (tables.require_numbers, ((0, TS_MS_MAX), MICROS_MAX, 18), "takes 0 for no time"),
    "times in nanoseconds": (tables.require_numbers, ((1, 4 * 10**18), MICROS_MAX, 18), "at most 18 digits"),
    "amounts of 19 digits": (tables.require_numbers, ((TS_MS_MIN, TS_MS_MAX), 10**18, 18), "MICROS_MAX"),
    "digits that overflow": (tables.require_numbers, ((TS_MS_MIN, TS_MS_MAX), MICROS_MAX, 19), "would overflow"),
    "a field that only the row decoder knows": (tables.require_fields, (["ts"], ["ts", "bid"]), "bid must be both"),
    "codes with a gap": (tables.require_order, ((0, 1, 3),), "without a gap"),
    "too little behind a text": (tables.require_padding, (15, 16, "PADDING"), "PADDING is 15"),
    "texts whose length needs 17 bits": (tables.require_lengths, ({"country": 65_536}, 16), "country may be 65536"),
    "a secret that text cancels": (tables.require_secrets, ([0x6B63696C63], [1]), "must be odd and have a byte 0xFF"),
    "two equal seeds": (tables.require_secrets, ([0xFF01], [5, 5]), "are equal, or one is 0"),
    "more series than codes": (SeriesTable, (2**31,), "codes of 32 bits"),
    "an even spread": (SeriesTable, (10, 10, np.uint64(2)), "odd"),
}


@pytest.mark.parametrize(("make", "given", "sentence"), BAD.values(), ids=BAD.keys())
def test_a_bad_table_is_refused_by_a_sentence(make: Callable[..., Any], given: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(TableError, match=sentence):
        make(*given)


def test_the_tables_that_there_are_pass() -> None:
    tables.require_pattern(EVENT_ID_PATTERN, RANGES, 64)
    tables.require_numbers(*NUMBERS)
    found = listed_words({"platform": ["pinterest", "pinteres"]})
    assert found[0, 0, 0] == found[0, 1, 0]
    assert found[0, 0, 1] != found[0, 1, 1]


@pytest.mark.parametrize("count", [1, 22, 40])
def test_every_key_has_a_place_of_its_own(count: int) -> None:
    table = key_table([f"{n:08d}key" for n in range(count)], SLOT_BITS)
    assert sorted(table.code[table.length >= 0].tolist()) == list(range(count))


# The module that holds the constant, the constant, and a value that the scanner would misread.
CHANGED = {
    "a platform longer than two words": ("PLATFORMS", ("google", "pinterest-and-more"), "'pinterest-and-mo'"),
    "a field that begins as another": ("TEXT_FIELDS", "campaign_name", "same first 8 bytes"),
    "another pattern of ids": ("EVENT_ID_PATTERN", r"^[a-z]{1,64}$", "pattern of event ids"),
    "longer countries": ("TEXT_BYTES_MAX", 70_000, "a series keeps lengths in 16 bits"),
    "larger amounts": ("MICROS_MAX", 10**20, "MICROS_MAX is"),
}


@pytest.mark.parametrize(("name", "value", "sentence"), CHANGED.values(), ids=CHANGED.keys())
def test_a_changed_constant_stops_the_import_and_says_why(name: str, value: Any, sentence: str) -> None:
    added = f"events.TEXT_FIELDS + ({value!r},)" if name == "TEXT_FIELDS" else repr(value)
    script = f"import schemas.events as events; events.{name} = {added}; import schemas.decode"
    ran = subprocess.run([sys.executable, "-O", "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 1
    assert "TableError" in ran.stderr
    assert sentence in ran.stderr
