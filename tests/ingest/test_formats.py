"""Other formats as ours: golden files for whole requests, tables for the edges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.formats import cloudevents, ga4, segment, snowplow
from ingest.formats.converted import CONVERTED_BYTES_MAX, Converted, FormatError, TooManyError
from ingest.formats.mapper import Mapper
from ingest.formats.mapping import Mapping
from ingest.formats.tables import RowReader, csv_rows, csv_text, from_rows
from schemas.decode import decode_row
from schemas.events import EventType

GOLDEN = Path(__file__).parent / "golden_formats"
NOW_MS = 1_767_225_600_000
SHIPPED = Mapping.load(None)


def convert(case: dict[str, Any], mapping: Mapping = SHIPPED, *, money: bool = True) -> Converted:
    """The outcome of a golden request."""
    name = case["format"]
    body = json.dumps(case["body"]).encode() if "body" in case else case.get("text", "").encode()
    match name:
        case "cloudevents":
            return cloudevents.from_json(body, batch=isinstance(case["body"], list))
        case "cloudevents-binary":
            return cloudevents.from_binary(case["headers"], body)
        case "csv":
            return table(case["text"], Mapping.model_validate(case.get("mapping", {})))
    mapper = Mapper(getattr(mapping, name), now_ms=NOW_MS, money=money)
    match name:
        case "segment":
            return segment.convert(body, case["call"], mapper)
        case "ga4":
            return ga4.convert(body, "G-1", mapper)
        case _:
            return snowplow.from_body(body, {"ip": "192.0.2.1", "ua": "Browser"}, mapper)


def table(text: str, mapping: Mapping = SHIPPED, rows_max: int = 100) -> Converted:
    rows = csv_rows(csv_text(text.encode()), mapped=mapping.csv is not None)
    reader = RowReader(mapping.csv, now_ms=NOW_MS)
    return from_rows(rows, reader, rows_max=rows_max, still_wanted=lambda: None)


def told(converted: Converted) -> dict[str, Any]:
    return {
        "events": [json.loads(line) for line in converted.lines],
        "refused": [[bad.number, bad.reason.value, bad.field] for bad in converted.refused],
        "ignored": dict(converted.ignored),
    }


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_a_request_in_another_format_becomes_these_events(path: Path) -> None:
    case = json.loads(path.read_text())
    found = told(convert(case))
    assert found == case["becomes"]
    for event in found["events"]:
        refused = decode_row(json.dumps(event).encode(), now_ms=NOW_MS, org_id="acme")
        assert not isinstance(refused, tuple), refused


# CloudEvents

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
EVENTS = st.fixed_dictionaries(
    {
        "event_id": st.from_regex(r"[A-Za-z0-9_.:\-]{1,64}", fullmatch=True),
        "type": st.sampled_from([kind.wire for kind in EventType if kind is not EventType.LEAD]),
        "ts": st.integers(946_684_800_000, NOW_MS),
        "campaign_id": TEXT,
    },
    optional={"user_id": TEXT, "cost_micros": st.integers(0, 10**12), "unknown": st.lists(TEXT, max_size=3)},
)


@given(EVENTS, TEXT)
def test_an_event_in_a_cloud_event_is_the_same_record(event: dict[str, Any], source: str) -> None:
    (line,) = cloudevents.from_json(cloudevents.encode(event, source=source)).lines
    plain = json.dumps(event).encode()
    assert decode_row(line, now_ms=NOW_MS, org_id="acme") == decode_row(plain, now_ms=NOW_MS, org_id="acme")


def test_the_id_of_a_cloud_event_is_of_its_source() -> None:
    cloud = {"specversion": "1.0", "id": "1", "type": "click", "data": {"campaign_id": "c"}}
    ids = [
        json.loads(cloudevents.from_json(json.dumps({**cloud, "source": source}).encode()).lines[0])["event_id"]
        for source in ("/a", "/a", "/b")
    ]
    assert ids[0] == ids[1] != ids[2]


CLOUD: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "/s", "type": "click", "data": {}}


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"specversion": "0.3"}, "bad_value", "specversion"),
        ({"specversion": None}, "missing_field", "specversion"),
        ({"id": ""}, "missing_field", "id"),
        ({"source": None}, "missing_field", "source"),
        ({"type": 5}, "wrong_type", "type"),
        ({"data": None}, "missing_field", "data"),
        ({"data": [1]}, "not_an_object", "data"),
        ({"data_base64": "%%"}, "bad_value", "data_base64"),
        ({"data_base64": 7}, "bad_value", "data_base64"),
        ({"data_base64": "e30="[:2] + "=="}, "malformed_json", ""),
        ({"datacontenttype": "text/xml"}, "bad_value", "datacontenttype"),
    ],
)
def test_a_cloud_event_that_is_none_is_refused_by_field(change: dict[str, Any], reason: str, field: str) -> None:
    (bad,) = cloudevents.from_json(json.dumps(CLOUD | change).encode()).refused
    assert (bad.reason, bad.field) == (reason, field)


@pytest.mark.parametrize("batch", [True, False])
def test_a_batch_is_an_array_and_one_event_is_none(batch: bool) -> None:
    with pytest.raises(FormatError):
        cloudevents.from_json(b"{}" if batch else b"[]", batch=batch)


# Segment, GA4, Snowplow


def track(**members: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Ad Clicked", "messageId": "m1", "properties": {"campaign_id": "c"}, **members}


def segment_event(message: dict[str, Any], mapping: Mapping = SHIPPED, *, money: bool = True) -> dict[str, Any]:
    body = json.dumps({"batch": [message]}).encode()
    converted = segment.convert(body, "batch", Mapper(mapping.segment, now_ms=NOW_MS, money=money))
    event: dict[str, Any] = json.loads(converted.lines[0])
    return event


@pytest.mark.parametrize(
    ("properties", "micros"),
    [
        ({"revenue": 19.99}, 19_990_000),
        ({"revenue": "19.99"}, 19_990_000),
        ({"revenue": 0.1 + 0.2}, 300_000),
        ({"revenue": 0, "total": 5}, 0),
        ({"total": 5}, 5_000_000),
        ({"revenue": -1}, -1_000_000),
        ({"revenue": "much"}, "much"),
        ({"revenue": True}, True),
        ({"revenue": "1e999999999"}, "1e999999999"),
        ({"revenue": "NaN"}, "NaN"),
    ],
    ids=lambda value: str(value),
)
def test_revenue_in_units_is_micros_and_what_is_no_amount_is_left_for_admission(
    properties: dict[str, Any], micros: Any
) -> None:
    message = track(event="Order Completed", properties={"campaign_id": "c", **properties})
    assert segment_event(message)["revenue_micros"] == micros


def test_a_value_that_is_no_revenue_makes_none_of_a_click() -> None:
    assert "revenue_micros" not in segment_event(track(properties={"campaign_id": "c", "value": 3, "total": 5}))


def test_a_message_id_that_may_be_no_event_id_is_hashed_alike_each_time() -> None:
    ids = {segment_event(track(messageId="a b" * 40))["event_id"] for _ in range(2)}
    assert len(ids) == 1
    assert ids.pop().startswith("h:")


def test_a_sender_that_may_not_say_money_is_recorded_without() -> None:
    message = track(event="Order Completed", properties={"campaign_id": "c", "revenue": 5})
    assert "revenue_micros" not in segment_event(message, money=False)


def test_an_order_that_no_campaign_brought_is_ignored_and_a_click_without_one_is_left_to_be_refused() -> None:
    body = json.dumps({"batch": [track(event="Order Completed", properties={}), track(properties={})]}).encode()
    converted = segment.convert(body, "batch", Mapper(SHIPPED.segment, now_ms=NOW_MS))
    assert converted.ignored == {"no_campaign": 1}
    assert [json.loads(line)["type"] for line in converted.lines] == ["click"]


def test_the_same_ga4_body_again_has_the_same_ids_and_two_equal_events_in_it_have_two() -> None:
    event = {"name": "ad_click", "params": {"campaign_id": "c"}}
    body = json.dumps({"client_id": "1.2", "timestamp_micros": 5, "events": [event, event]}).encode()
    first, again = (ga4.convert(body, "G", Mapper(SHIPPED.ga4, now_ms=NOW_MS)).lines for _ in range(2))
    assert first == again
    assert len({json.loads(line)["event_id"] for line in first}) == 2


@pytest.mark.parametrize(
    "event",
    [{"e": "ue"}, {"e": "ue", "ue_pr": "[]"}, {"e": "ue", "ue_px": "!"}, {"e": "ue", "ue_pr": "[" * 5_000}, {"e": 5}],
    ids=["nothing", "array", "no_base64", "deep", "kind"],
)
def test_a_snowplow_event_that_describes_nothing_is_refused(event: dict[str, Any]) -> None:
    converted = convert({"format": "snowplow", "body": {"data": [event]}})
    assert (len(converted.refused), converted.lines) == (1, [])


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"batch":5}', b'{"batch":[', b"\xff", b'{"batch":[' * 40 + b"["])
def test_a_body_that_cannot_be_read_is_one_refusal(body: bytes) -> None:
    for read in (
        lambda mapper: segment.convert(body, "batch", mapper),
        lambda mapper: ga4.convert(body, "", mapper),
        lambda mapper: snowplow.from_body(body, {}, mapper),
    ):
        with pytest.raises(FormatError):
            read(Mapper(SHIPPED.segment, now_ms=NOW_MS))


# Tables


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "unreadable"),
        ("a,b\n1,2\n", "missing_column"),
        ("event_id,type,ts,ts\n", "unreadable"),
        ("event_id,type,ts,\n", "unreadable"),
        (",".join(f"c{n}" for n in range(300)), "too_many_lines"),
        ("event_id,type,ts\n" + "x" * 8_000_000, "too_many_lines"),
        ('event_id,type,ts\n"' + "x\n" * 200_000, "too_many_lines"),
        ("event_id,type,ts\n" + "e,click,1\n" * 101, "too_many_lines"),
    ],
    ids=["empty", "foreign", "twice", "unnamed", "wide", "one_line", "one_cell", "long"],
)
def test_a_table_that_is_none_is_refused_whole(text: str, code: str) -> None:
    with pytest.raises(FormatError) as refused:
        table(text)
    assert refused.value.code == code


def test_a_row_with_cells_too_few_is_refused_by_its_number() -> None:
    converted = table("event_id,type,ts\ne1,click\ne2,click,5\n")
    assert [(bad.number, bad.item) for bad in converted.refused] == [(1, b'["e1","click"]')]
    assert converted.numbers == [2]


def test_long_names_of_columns_do_not_make_a_small_table_large() -> None:
    names = ["event_id", "type", "ts", *(f"{n}".rjust(900, "x") for n in range(60))]
    row = ",".join(["1"] * len(names))
    text = ",".join(names) + "\n" + f"{row}\n" * (CONVERTED_BYTES_MAX // 50_000)
    with pytest.raises(TooManyError, match="As events"):
        table(text, rows_max=100_000)


# Mapping files


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "is not an object"),
        ('{"segmnt": {}}', "segmnt: Extra inputs"),
        ('{"segment": {"events": {"X": {"type": "view"}}}}', "segment.events.X.type"),
        ('{"segment": {"fields": {"cost_micros": "a"}}}', "`money` says it"),
        ('{"ga4": {"money": {"cost_micros": {"unit": "euros"}}}}', "ga4.money.cost_micros.unit"),
    ],
    ids=["no_json", "array", "unknown_format", "unknown_type", "cost_as_field", "unknown_unit"],
)
def test_a_mapping_that_is_wrong_says_where(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mapping.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"mapping\.json") as refused:
        Mapping.load(file)
    assert said in str(refused.value)


def test_a_mapping_file_is_put_over_the_shipped_one(tmp_path: Path) -> None:
    file = tmp_path / "mapping.toml"
    file.write_text(
        """
        [segment.events."Ad Clicked"]
        type = "ignore"
        [segment.events."Deal Won"]
        type = "conversion"
        constants = { channel = "email" }
        [segment.events."Deal Won".money.revenue_micros]
        paths = "properties.amount"
        unit = "cents"
        currency = "EUR"
        currency_paths = "properties.currency"
        """
    )
    mapping = Mapping.load(file)
    assert mapping.segment.events["Ad Impression"].type == "impression"
    won = track(event="Deal Won", properties={"campaign_id": "c", "amount": 1250, "currency": "eur"})
    event = segment_event(won, mapping)
    assert (event["revenue_micros"], event["channel"]) == (12_500_000, "email")
    dollars = track(event="Deal Won", properties={"campaign_id": "c", "amount": 1250, "currency": "USD"})
    body = json.dumps({"batch": [dollars, track()]}).encode()
    converted = segment.convert(body, "batch", Mapper(mapping.segment, now_ms=NOW_MS))
    assert [(bad.field, bad.reason.value) for bad in converted.refused] == [("revenue_micros", "bad_value")]
    assert converted.ignored == {"not_mapped": 1}
