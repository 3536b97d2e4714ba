"""What is published about the log is what the log holds: schemas, AsyncAPI and the decoder of `kpis` in the docs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bytewax._bytewax import run_main
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cli.schemas import as_text, documents
from flows.decide import FlowSettings, build
from flows.metrics import Meter
from flows.source import SourceOptions
from schemas import topics
from schemas.decode import Refused, decode_row
from schemas.kpis import KpiBatch
from schemas.published import asyncapi, topic_schema
from tests.schemas.lines import NOW_MS, lines
from tests.support import flow_runs
from tests.support.memory_log import MemoryLog
from tests.support.needs import need

EVENT = Draft202012Validator(topic_schema(topics.EVENTS))
DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def ran() -> MemoryLog:
    """A log that the flow has worked through."""
    log = MemoryLog(2)
    flow_runs.define_all(log, 1_200_000)
    flow_runs.fill(log, flow_runs.event_lines(3_000, 5))
    flow = build(FlowSettings(dedupe_ids=8_192, source=SourceOptions(ends=True)), log, meter=Meter())
    run_main(flow, epoch_interval=timedelta(seconds=1))  # type: ignore[no-untyped-call]
    return log


def records(log: MemoryLog, topic: str) -> list[bytes]:
    chunks = (log.read(topic, partition, 0, 2**30) for partition in range(log.partitions(topic)))
    return [record for chunk in chunks if chunk is not None for record in chunk.records()]


@pytest.mark.parametrize("topic", topics.ALL)
def test_every_topic_has_a_valid_schema(topic: str) -> None:
    schema = topic_schema(topic)
    Draft202012Validator.check_schema(schema)
    # A schema that takes anything is valid, too.
    assert not any(Draft202012Validator(schema).is_valid(given) for given in ("a text", 1, [{}], None))


def test_the_published_files_are_those_that_the_command_writes() -> None:
    wrong = [
        name
        for name, document in documents().items()
        if not (DOCS / "schemas" / name).exists() or (DOCS / "schemas" / name).read_text() != as_text(document)
    ]
    assert not wrong, f"run `penstock schemas --out docs/schemas` and commit: {wrong}"


def test_the_asyncapi_document_names_every_topic_and_only_files_that_there_are() -> None:
    document = asyncapi("1")
    assert set(document["channels"]) == set(topics.ALL)
    references = re.findall(r'"\$ref": "\./([^"]+)"', json.dumps(document))
    assert sorted(references) == sorted(f"{topic}.json" for topic in topics.ALL)


@pytest.mark.parametrize("topic", [topics.ORDER, topics.CONTROL, topics.DECISIONS, topics.KPIS, topics.VERDICTS,
                                   topics.LIVE, topics.DEAD_LETTERS])  # fmt: skip
def test_what_the_flow_writes_is_what_the_schema_says(ran: MemoryLog, topic: str) -> None:
    validator = Draft202012Validator(topic_schema(topic))
    found = records(ran, topic)
    assert found, f"the run wrote nothing to {topic}"
    for record in found[:300]:
        assert not [error.message for error in validator.iter_errors(json.loads(record))]


@given(lines)
@settings(max_examples=200, deadline=None)
def test_an_event_that_the_collector_takes_is_one_of_the_schema(raw: bytes) -> None:
    if isinstance(decode_row(raw, now_ms=NOW_MS, org_id=None), Refused):
        return
    # Of members with the same name the last one counts, here as in the decoder.
    event = json.loads(raw)
    assert not [error.message for error in EVENT.iter_errors(event)]


@given(st.sampled_from(["event_id", "type", "ts", "campaign_id"]))
def test_an_event_without_a_required_field_is_none_of_the_schema(field: str) -> None:
    event: dict[str, Any] = {"event_id": "e", "type": "click", "ts": NOW_MS, "campaign_id": "c"}
    del event[field]
    assert list(EVENT.iter_errors(event))


def documented(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", (DOCS / "topics.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def expected_windows(record: bytes) -> list[dict[str, Any]]:
    columns = msgspec.to_builtins(msgspec.json.decode(record, type=KpiBatch).columns())
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def test_the_documented_decoder_in_python_reads_kpi_windows(ran: MemoryLog) -> None:
    names: dict[str, Any] = {}
    exec(documented("python"), names)
    for record in records(ran, topics.KPIS):
        assert list(names["windows"](record)) == expected_windows(record)


def test_the_documented_decoder_in_javascript_reads_kpi_windows(ran: MemoryLog, tmp_path: Path) -> None:
    node = shutil.which("node")
    need(node is not None, "node is not on the PATH")
    (tmp_path / "decoder.mjs").write_text(documented("js"))
    (tmp_path / "run.mjs").write_text(
        'import { windows } from "./decoder.mjs";\nimport { readFileSync } from "node:fs";\n'
        'for (const line of readFileSync(0, "utf8").trim().split("\\n")) console.log(JSON.stringify(windows(line)));\n'
    )
    some = records(ran, topics.KPIS)[:20]
    told = subprocess.run(
        [str(node), str(tmp_path / "run.mjs")], input=b"\n".join(some), capture_output=True, check=True, timeout=60
    )
    assert [json.loads(line) for line in told.stdout.splitlines()] == [expected_windows(record) for record in some]
