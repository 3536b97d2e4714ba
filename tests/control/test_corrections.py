"""Corrections as people give them: every line gets an answer, and nothing is guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from control.corrections.csv_file import (
    FILE_BYTES_MAX,
    LINE_CHARS_MAX,
    LINES_MAX,
    BadLine,
    CsvError,
    read_csv,
    safe_cell,
)
from control.corrections.given import Given
from control.corrections.judge import Answer, Judge, Outcome
from control.corrections.send import send
from schemas import topics
from schemas.campaigns import Campaign
from schemas.corrections import Cause, Correction, Grain, decode_correction
from tests.support.memory_log import MemoryLog

# 2026-03-02 00:00 UTC, and three days later.
DAY_MS = 1_772_409_600_000
NOW_MS = DAY_MS + 3 * 86_400_000
HOUR_MS = 3_600_000
TOKYO = Campaign(campaign_id="tokyo", name="T", currency="JPY", time_zone="Asia/Tokyo", org_id="acme")
PLAIN = Campaign(campaign_id="c1", name="C", currency="EUR", org_id="acme")


class FakeBooks:
    """What ClickHouse would have: corrections, and a campaign c1 that spent 100 EUR on 2 March."""

    def __init__(self, *known: Correction) -> None:
        self.known = known
        self.asked = 0

    def corrections_by_id(self, org_id: str, ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        return [
            {name: getattr(each, name) for name in each.__struct_fields__} | {"refused": False}
            for each in self.known
            if each.correction_id in ids and each.org_id == org_id
        ]

    def spend_of_days(self, org_id: str, campaign_id: str, low_ms: int, high_ms: int) -> Sequence[tuple[int, int, int]]:
        self.asked += 1
        return [(DAY_MS, DAY_MS + 86_400_000, 100_000_000)] if campaign_id == "c1" else []

    def has_campaign(self, org_id: str, campaign_id: str) -> bool:
        return campaign_id == "undefined-with-events"


def judge(*known: Correction, now_ms: int = NOW_MS) -> Judge:
    definitions = {"c1": PLAIN, "tokyo": TOKYO}
    return Judge("acme", by="ann", now_ms=now_ms, definition=definitions.get, books=FakeBooks(*known))


def given(**fields: Any) -> Given:
    plain = {"campaign_id": "c1", "cause": "refund", "reference": "r1", "day": "2026-03-02"}
    return Given.model_validate(plain | fields)


def answers(*lines: Given, judged: Judge | None = None) -> list[Answer]:
    return (judged or judge()).answers(list(enumerate(lines, start=1)))


def test_a_correction_of_a_day_lies_in_the_middle_of_the_campaigns_own_day() -> None:
    here, tokyo = answers(
        given(spend_micros=-5), given(campaign_id="tokyo", reference="r2", spend_micros=-5)
    )  # fmt: skip
    assert here.correction is not None
    assert tokyo.correction is not None
    assert (here.correction.ts_ms, here.correction.grain) == (DAY_MS + 12 * HOUR_MS, Grain.DAY)
    assert tokyo.correction.ts_ms == DAY_MS + 3 * HOUR_MS
    assert (here.correction.org_id, here.correction.by, here.correction.noted_ms) == ("acme", "ann", NOW_MS)


def test_an_invoice_becomes_what_it_differs_by() -> None:
    more, less, same = (
        answers(given(cause="platform_invoice", invoiced_micros=micros))[0]
        for micros in (100_500_000, 99_000_000, 100_000_000)
    )
    assert [a.correction and a.correction.spend_micros for a in (more, less, same)] == [500_000, -1_000_000, None]
    assert same.outcome is Outcome.NOTHING


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"campaign_id": "nobody", "spend_micros": 1}, "no campaign 'nobody' in this organisation"),
        ({"currency": "USD", "spend_micros": 1}, "currency is EUR"),
        ({"day": "2026-03-05", "invoiced_micros": 1}, "not over"),
        ({"day": "2026-03-09", "spend_micros": 1}, "not yet"),
        ({"day": "1999-03-09", "spend_micros": 1}, "no day of a campaign"),
        ({"day": "0001-01-01", "spend_micros": 1}, "no day of a campaign"),
        ({"day": "9999-12-30", "spend_micros": 1}, "no day of a campaign"),
        ({"invoiced_micros": 100_000_000 * 501}, "another unit"),
        ({"invoiced_micros": 100}, "another unit"),
        ({"day": "2026-03-01", "invoiced_micros": 100_000_000}, "nothing of that day, or not yet"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(fields: dict[str, Any], words: str) -> None:
    (answer,) = answers(given(**fields))
    assert answer.outcome is Outcome.REFUSED
    assert words in answer.detail
    assert answer.correction is None


def test_a_campaign_that_has_events_and_no_definition_can_be_corrected() -> None:
    assert answers(given(campaign_id="undefined-with-events", clicks=-1))[0].outcome is Outcome.SENT


def test_a_reference_is_one_correction() -> None:
    first, again, other, elsewhere = answers(
        given(clicks=-1), given(clicks=-1), given(clicks=-2), given(clicks=-1, cause="note")
    )
    assert [a.outcome for a in (first, again, other, elsewhere)] == [
        Outcome.SENT, Outcome.KNOWN, Outcome.REFUSED, Outcome.SENT,
    ]  # fmt: skip
    assert "line 1" in again.detail
    assert "same reference" in other.detail
    assert first.correction_id == again.correction_id == other.correction_id != elsewhere.correction_id


def test_one_that_was_applied_is_known_and_one_that_says_otherwise_is_refused() -> None:
    sent = answers(given(clicks=-1))[0].correction
    assert sent is not None
    same, other = (answers(given(clicks=n), judged=judge(sent))[0] for n in (-1, -7))
    assert (same.outcome, other.outcome) == (Outcome.KNOWN, Outcome.REFUSED)
    assert "clicks -1" in other.detail


def test_two_invoiced_amounts_of_one_day_are_not_both_taken() -> None:
    first, second = answers(given(invoiced_micros=101_000_000), given(reference="r2", invoiced_micros=102_000_000))
    assert (first.outcome, second.outcome) == (Outcome.SENT, Outcome.REFUSED)
    assert "line 1" in second.detail


def test_a_long_invoice_asks_once_a_campaign() -> None:
    books = FakeBooks()
    judged = Judge("acme", by="", now_ms=NOW_MS, definition={"c1": PLAIN}.get, books=books)
    lines = [given(reference=f"r{n}", day=f"2026-02-{n:02d}", invoiced_micros=5) for n in range(1, 28)]
    assert len(answers(*lines, judged=judged)) == 27
    assert books.asked == 1


def test_an_invoice_of_nothing_takes_all_of_the_day_back() -> None:
    (answer,) = answers(given(invoiced_micros=0))
    assert answer.correction is not None
    assert answer.correction.spend_micros == -100_000_000


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"clicks": 1, "ts_ms": DAY_MS},
        {"clicks": 1, "day": None},
        {"invoiced_micros": 5, "clicks": 1},
        {"invoiced_micros": -5},
        {"day": None, "ts_ms": DAY_MS, "invoiced_micros": 5},
        {"clicks": 10**9 + 1},
        {"spend_micros": 10**15 + 1},
        {"spend_micros": 1.5},
        {"clicks": True},
        {"clicks": 1, "country": "DE"},
        {"clicks": 1, "cause": "late_duplicate"},
        {"clicks": 1, "campaign_id": "a b"},
        {"clicks": 1, "note": "x" * 501},
        {"clicks": 1, "note": "\x1b[31m"},
        {"clicks": 1, "reference": ""},
        {"clicks": 1, "reference": "a\x1fb"},
        {"clicks": 1, "org_id": "other"},
        {"clicks": 1, "ts_ms": 5, "day": None},
    ],
)
def test_what_makes_no_sense_is_no_correction(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        given(**fields)


def test_corrections_go_to_the_home_partition_of_their_campaign() -> None:
    log = MemoryLog(partitions=4)
    made = [answers(given(campaign_id=name, clicks=-1))[0].correction for name in ("c1", "tokyo")]
    send(log, [each for each in made if each is not None])
    for name in ("c1", "tokyo"):
        (record,) = log.records(topics.CORRECTIONS, topics.partition_of(name, 4))
        assert decode_correction(record).campaign_id == name
    assert sorted(log.keys[topics.CORRECTIONS]) == ["c1", "tokyo"]


# CSV


def lines(text: str | bytes) -> list[tuple[int, Given] | BadLine]:
    return list(read_csv(text.encode() if isinstance(text, str) else text))


def one(text: str | bytes) -> Given:
    (line,) = lines(text)
    assert not isinstance(line, BadLine), line
    return line[1]


def refused(text: str) -> str:
    (line,) = lines(text)
    assert isinstance(line, BadLine), line
    return line.detail


@pytest.mark.parametrize(
    "text",
    [
        "campaign_id,day,spend\nc1,2026-03-02,-12.5\n",
        "\ufeffcampaign_id,day,spend\r\nc1,2026-03-02,-12.50\r\n",
        "campaign_id;day;spend\nc1;2026-03-02;-12,5\n",
        "campaign_id\tday\tspend\nc1\t2026-03-02\t-12.5",
        'Campaign_ID, day ,spend\n"c1",2026-03-02,"-12.5"\n\n,,\n',
        "campaign_id,day,spend_micros\nc1,2026-03-02,-12500000\n",
    ],
)
def test_what_spreadsheets_write_is_read(text: str) -> None:
    found = one(text)
    assert (found.campaign_id, str(found.day), found.spend_micros) == ("c1", "2026-03-02", -12_500_000)
    assert found.cause == Cause.PLATFORM_INVOICE


@pytest.mark.parametrize(
    ("cell", "separator"),
    [("12,5", ","), ("1.234", ";"), ("1.234,50", ";"), ("1,234.50", ","), ("1e3", ","), ("NaN", ","), ("inf", ","),
     ("0x10", ","), ("٣", ","), ("12.1234567", ","), ("$5", ","), ("=1+1", ","), ("--5", ","), ("5-", ",")],
)  # fmt: skip
def test_an_amount_that_could_be_meant_otherwise_is_refused_with_the_way_to_write_it(cell: str, separator: str) -> None:
    told = refused(f'campaign_id{separator}day{separator}spend\nc1{separator}2026-03-02{separator}"{cell}"\n')
    assert told.startswith("spend: ")
    assert "1234" in told


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "campaign_id"),
        (b"campaign_id,day,spent\n", "no column 'spent'"),
        (b"campaign_id,org_id,day\n", "no column 'org_id'"),
        (b"campaign_id,day,day\n", "twice"),
        (b"campaign_id,day,spend,spend_micros\n", "keep one"),
        (b"spend,day\n", "campaign_id"),
        ("campaign_id,day\nc1,2026".encode("utf-16"), "UTF-8"),
        (b"campaign_id,day,note\nc1,2026-03-02,\xff\n", "UTF-8"),
        (b"sep=;\ncampaign_id;day\n", "sep="),
        (b'campaign_id,day,note\nc1,2026-03-02,"open\n', "no CSV"),
        (b'campaign_id,day,note\nc1,2026-03-02,"a"b"\n', "no CSV"),
        (b"campaign_id,day\n" + b"x" * (LINE_CHARS_MAX + 1), "characters"),
        (b"campaign_id,day\n" * (LINES_MAX + 3), "lines"),
        (b"x" * (FILE_BYTES_MAX + 1), "bytes"),
    ],
)
def test_a_file_that_cannot_be_taken_says_how_to_write_it(content: bytes, words: str) -> None:
    with pytest.raises(CsvError, match=words):
        lines(content)


def test_every_line_gets_an_answer_of_its_own() -> None:
    text = (
        "campaign_id,day,clicks\nc1,2026-03-02,-1\nc1,02.03.2026,-1\nc1,2026-03-02,x\nc1,2026-03-02\nc1,2026-03-04,2\n"
    )
    found = lines(text)
    assert [line.line if isinstance(line, BadLine) else line[0] for line in found] == [2, 3, 4, 5, 6]
    assert [isinstance(line, BadLine) for line in found] == [False, True, True, True, False]


def test_the_same_line_has_the_same_reference_in_whatever_file() -> None:
    plain = one("campaign_id,day,spend\nc1,2026-03-02,-12.5\n")
    other = one("day;note;spend;campaign_id\n2026-03-02;again;-12,50;c1\n")
    assert plain.reference == other.reference
    assert one("campaign_id,day,spend\nc1,2026-03-03,-12.5\n").reference != plain.reference


def test_a_time_needs_its_zone() -> None:
    assert one("campaign_id,ts,clicks\nc1,2026-03-02T01:00:00+01:00,1\n").ts_ms == DAY_MS
    assert one(f"campaign_id,ts,clicks\nc1,{DAY_MS},1\n").ts_ms == DAY_MS
    assert "zone" in refused("campaign_id,ts,clicks\nc1,2026-03-02T01:00:00,1\n")


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "  =1", "\t=1", "\x1b]0;x"])
def test_no_text_is_taken_for_a_formula_or_a_terminals_command(text: str) -> None:
    shown = safe_cell(text)
    assert not shown.lstrip(" ").startswith(("=", "+", "-", "@", "\t"))
    assert shown.isprintable()
