"""Dead letters: read, corrected, sent again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingest.admission import admit, encode_letter
from ingest.dead_letter_replay import CorrectionError, corrected, find_letter, raw_of, read_letters, readmit
from schemas import topics
from schemas.dead_letters import RAW_BYTES_MAX, DeadLetter
from tests.support.memory_log import MemoryLog

NOW_MS = 1_767_225_600_000


def letter(raw: bytes, org_id: str = "default") -> DeadLetter:
    return admit(raw, org_id=org_id, now_ms=NOW_MS, partitions=1, source="http/r").refused[0].letter


def event(**changes: Any) -> bytes:
    row = {"event_id": "e1", "type": "sale", "ts": NOW_MS, "campaign_id": "shoes"} | changes
    return json.dumps(row).encode()


def test_letters_are_read_once_each_and_what_is_none_is_left_out() -> None:
    log = MemoryLog()
    one, two = letter(b"x"), letter(b"y")
    log.append(topics.DEAD_LETTERS, 0, [encode_letter(one), b"{}", encode_letter(two), encode_letter(one)])
    assert list(read_letters(log)) == [one, two]


def test_a_letter_is_found_by_the_beginning_of_its_id() -> None:
    letters = [letter(bytes([65 + n])) for n in range(20)]
    assert find_letter(letters, letters[3].dead_letter_id[:12]) == letters[3]
    with pytest.raises(CorrectionError, match="20 dead letters"):
        find_letter(letters, "")
    with pytest.raises(CorrectionError, match="there is no"):
        find_letter(letters, "zz")


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"type": "conversion"}, {"type": "conversion"}),
        ({"type": "lead", "lead.email": "a@b.example"}, {"type": "lead", "lead": {"email": "a@b.example"}}),
        ({"type": "click", "wrong": None}, {"type": "click"}),
    ],
    ids=["a_field", "a_field_within", "a_field_away"],
)
def test_a_corrected_letter_becomes_an_event(changes: dict[str, Any], fields: dict[str, Any]) -> None:
    log, refused = MemoryLog(), letter(event(wrong=1))
    admitted = readmit(log, refused, corrected(refused, changes), now_ms=NOW_MS)
    assert (admitted.accepted, admitted.refused) == (1, [])
    (record,) = log.records(topics.EVENTS)
    expected = json.loads(event(**fields)) | ({"wrong": 1} if "wrong" not in changes else {})
    assert json.loads(record) == expected


def test_correcting_a_letter_twice_makes_one_event_for_whoever_drops_duplicates() -> None:
    refused = letter(event(event_id=None))
    row = json.loads(corrected(refused, {"type": "click", "event_id": None}))
    assert row["event_id"] == refused.dead_letter_id


def test_a_letter_goes_back_under_its_own_organisation() -> None:
    log, refused = MemoryLog(), letter(event(), org_id="acme")
    readmit(log, refused, corrected(refused, {"type": "click"}), now_ms=NOW_MS)
    assert json.loads(log.records(topics.EVENTS)[0])["org_id"] == "acme"


def test_what_is_still_wrong_is_refused_again_and_not_written() -> None:
    log, refused = MemoryLog(), letter(event())
    admitted = readmit(log, refused, raw_of(refused), now_ms=NOW_MS)
    assert [each.letter.reason for each in admitted.refused] == ["unknown_type"]
    assert log.records(topics.EVENTS) == log.records(topics.DEAD_LETTERS) == []


def test_what_is_not_json_or_not_whole_cannot_be_corrected_by_field() -> None:
    with pytest.raises(CorrectionError, match="is not JSON"):
        corrected(letter(b"{"), {"type": "click"})
    with pytest.raises(CorrectionError, match="is not an object"):
        corrected(letter(b"[]"), {"type": "click"})
    with pytest.raises(CorrectionError, match="give the whole event"):
        corrected(letter(event(note="x" * RAW_BYTES_MAX)), {"type": "click"})
