"""Inputs for whole runs of the flow, and what came of them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import msgspec

from schemas.control import CampaignRecord, encode_control
from schemas.decisions import decode_decision, encode_decision
from schemas.events import DEFAULT_ORG
from schemas.kpis import KpiBatch, Verdicts
from schemas.log import Log
from schemas.topics import CONTROL, DEAD_LETTERS, DECISIONS, EVENTS, KPIS, ORDER, VERDICTS, partition_of

# 2026-05-28 22:40 UTC: an hour and twenty minutes before midnight.
START_MS = 1_780_008_000_000
CAMPAIGNS = 16
_KEY_FIELDS = (
    "org_id",
    "campaign_id",
    "level",
    "creative_id",
    "channel",
    "country",
    "device",
    "window",
    "window_start_ms",
)
_VALUE_FIELDS = (
    "window_end_ms",
    "impressions",
    "clicks",
    "conversions",
    "leads",
    "spend_micros",
    "revenue_micros",
    "reach",
)

Windows = dict[tuple[str | int, ...], tuple[int, ...]]


def event_lines(count: int, seed: int, *, span_ms: int = 10_000_000) -> Iterator[tuple[str, bytes]]:
    """(campaign_id, line) of so many events over `span_ms`: one in 40 a duplicate, one in 200 a bad line."""
    rng = random.Random(seed)
    kept: list[tuple[str, bytes]] = []
    for number in range(count):
        dice = rng.randrange(200)
        if dice < 5 and kept:
            yield rng.choice(kept[-500:])
            continue
        campaign = f"cmp-{min(rng.randrange(CAMPAIGNS), rng.randrange(CAMPAIGNS))}"
        if dice == 5:
            yield campaign, b'{"event_id":"bad-%d","type":"impression"' % number
            continue
        kind = "impression" if dice < 190 else "click" if dice < 198 else "conversion"
        ts = START_MS + number * span_ms // count + rng.randrange(-500, 500)
        line = (
            f'{{"event_id":"e{number}","type":"{kind}","ts":{ts},"campaign_id":"{campaign}",'
            f'"creative_id":"cr-{rng.randrange(2)}","user_id":"u{rng.randrange(5_000)}",'
            f'"cost_micros":{rng.randrange(1, 9_000)},"revenue_micros":{90_000 if kind == "conversion" else 0}}}'
        )
        kept.append((campaign, line.encode()))
        del kept[:-1_000]
        yield kept[-1]


def fill(log: Log, lines: Iterator[tuple[str, bytes]]) -> int:
    """Put lines into their campaigns' partitions; how many there were."""
    partitions = log.partitions(EVENTS)
    sorted_out: list[list[bytes]] = [[] for _ in range(partitions)]
    for campaign, line in lines:
        sorted_out[partition_of(campaign, partitions)].append(line)
    for partition, records in enumerate(sorted_out):
        for first in range(0, len(records), 5_000):
            log.append(EVENTS, partition, records[first : first + 5_000])
    return sum(map(len, sorted_out))


def define(log: Log, campaign_id: str, *, version: int = 1, **definition: object) -> CampaignRecord:
    """Define a campaign as the control plane does."""
    record = CampaignRecord(
        key=f"campaign/{DEFAULT_ORG}/{campaign_id}",
        org_id=DEFAULT_ORG,
        campaign_id=campaign_id,
        version=version,
        changed_by="test",
        changed_ms=0,
        campaign={"campaign_id": campaign_id, "name": campaign_id, "currency": "EUR", **definition},
    )
    log.append(CONTROL, 0, [encode_control(record)], keys=[record.key])
    return record


def define_all(log: Log, daily_budget_micros: int) -> None:
    """Define all campaigns with budgets of several kinds, the busiest of which are reached."""
    for number in range(CAMPAIGNS):
        define(
            log,
            f"cmp-{number}",
            daily_budget_micros=daily_budget_micros,
            weekly_budget_micros=round(1.7 * daily_budget_micros) if number % 3 == 0 else None,
            total_budget_micros=round(1.3 * daily_budget_micros) if number % 3 == 1 else None,
            time_zone="America/New_York" if number % 4 == 3 else "UTC",
        )


def records(log: Log, topic: str, partition: int = 0) -> list[bytes]:
    """Every record of a partition."""
    found: list[bytes] = []
    offset, end = log.begin(topic, partition), log.end(topic, partition)
    while offset < end:
        chunk = log.read(topic, partition, offset, 4 * 2**20, timeout_s=5.0)
        assert chunk is not None, f"{topic}/{partition} gave nothing at {offset}, its end is {end}"
        found += chunk.records()
        offset = chunk.next_offset
    return found


def decisions(log: Log) -> dict[str, bytes]:
    """Decisions by id, without their sequence: that is by the written clock, which each run has of its own.

    A decision written twice must be the same bytes, and sequences of a campaign rise.
    """
    found: dict[str, bytes] = {}
    last: dict[str, int] = {}
    for record in records(log, DECISIONS):
        decision = decode_decision(record)
        key, campaign = decision.decision_id, decision.campaign_id
        if key not in found:
            assert decision.sequence > last.get(campaign, 0), f"decision {key} comes after its successor"
            last[campaign] = decision.sequence
        known = found.setdefault(key, record)
        assert known == record, f"decision {key} has two contents: {differing_fields(known, record)}"
    return {key: _without_sequence(record) for key, record in found.items()}


def differing_decisions(some: dict[str, bytes], others: dict[str, bytes]) -> str:
    """What two runs decided differently, for people; empty when they decided the same."""
    only = [
        f"only one of them: {(some.get(key) or others[key]).decode()}" for key in sorted(some.keys() ^ others.keys())
    ]
    both = [key for key in sorted(some.keys() & others.keys()) if some[key] != others[key]]
    return "\n".join([*only, *(f"{key}: {differing_fields(some[key], others[key])}" for key in both)])


def differing_fields(one: bytes, other: bytes) -> str:
    """Fields of two records that are not the same."""
    first, second = json.loads(one), json.loads(other)
    names = [name for name in sorted(first.keys() | second.keys()) if first.get(name) != second.get(name)]
    said = ", ".join(f"{name} {first.get(name)} and {second.get(name)}" for name in names)
    return f"{first.get('kind')} of {first.get('campaign_id')} caused by {first.get('cause_event')}: {said}"


def _without_sequence(record: bytes) -> bytes:
    return encode_decision(msgspec.structs.replace(decode_decision(record), sequence=0))


def windows(log: Log) -> Windows:
    """The last version of every KPI window: (version, end, counters). An equal version must be the same row."""
    found: Windows = {}
    for record in records(log, KPIS):
        batch = msgspec.json.decode(record, type=KpiBatch).columns()
        keys = zip(*(getattr(batch, field) for field in _KEY_FIELDS), strict=True)
        values = zip(batch.version, *(getattr(batch, field) for field in _VALUE_FIELDS), strict=True)
        for key, value in zip(keys, values, strict=True):
            if value[0] >= found.get(key, (-1,))[0]:
                found[key] = value
    return found


def verdicts(log: Log) -> dict[int, list[Verdicts]]:
    """Verdicts by partition, in the order in which they were written."""
    found: dict[int, list[Verdicts]] = {}
    for record in records(log, VERDICTS):
        one = msgspec.json.decode(record, type=Verdicts)
        found.setdefault(one.partition, []).append(one)
    return found


def judged(log: Log) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """(partition, offset) of all duplicates and of all dead events."""
    every = [one for ones in verdicts(log).values() for one in ones]
    return (
        {(one.partition, offset) for one in every for offset in one.duplicates},
        {(one.partition, offset) for one in every for offset in one.dead},
    )


def dead_letter_ids(log: Log) -> set[str]:
    """Ids of all dead letters."""
    return {json.loads(record)["dead_letter_id"] for record in records(log, DEAD_LETTERS)}


def copy(source: Log, target: Log, *topics: str) -> None:
    """Copy topics record by record, for a replay elsewhere."""
    for topic in topics or (EVENTS, ORDER):
        for partition in range(source.partitions(topic)):
            found = records(source, topic, partition)
            for first in range(0, len(found), 5_000):
                target.append(topic, partition, found[first : first + 5_000])
