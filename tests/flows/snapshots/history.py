"""A history of one shard with all that its state can hold: organisations, zones, budgets, words, strategies, floods."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from flows.logic.campaigns.registry import Limits
from flows.logic.campaigns.shard import CampaignShard
from flows.logic.step import Output, Step
from flows.snapshots.versions import VERSION
from schemas.control import CampaignRecord, OverrideRecord
from schemas.corrections import Cause, Correction
from schemas.decode import SeriesTable, decode_chunk
from schemas.log import Chunk
from schemas.topics import EVENTS

START_MS: Final = 1_780_008_000_000
_encoder: Final = msgspec.json.Encoder(order="deterministic")
STEPS: Final = 160
HALF: Final = 80
# The first version of the state that has corrections.
WITH_CORRECTIONS: Final = 5
LIMITS: Final = Limits(series_per_campaign=12, series=60, campaigns=6)
ORGANISATIONS: Final = ("acme", "globex")
DEVICES: Final = ("mobile", "desktop", "tablet", "ctv")
_DEFINED: Final[dict[str, dict[str, Any]]] = {
    "daily": {"time_zone": "Europe/Berlin", "daily_budget_micros": 60_000_000},
    "clicks": {
        "time_zone": "Asia/Kolkata",
        "daily_budget_micros": 90_000_000,
        "bidding": {"strategy": "max_clicks", "bid_micros": 2_000_000},
    },
    "goal": {
        "total_budget_micros": 400_000_000,
        "bidding": {"strategy": "target_cpa", "target_cpa_micros": 9_000_000, "bid_micros": 2_000_000},
    },
}


def steps(first: int, last: int, version: int = VERSION) -> Iterator[Step]:
    """Steps `first` to `last` of the history: the same for the same numbers, whatever was before.

    Without what a shard of an older `version` of the state did not know.
    """
    for number in range(first, last):
        now_ms = START_MS + 5_000 * number
        tick = Step(0, 2 * number, 2 * number, now_ms, now_ms, tick=True, control=_control(number, now_ms))
        if version >= WITH_CORRECTIONS and number % 20 == 15:
            tick.corrections = _corrections(number, now_ms)
        yield tick
        payload = b"\n".join(_lines(random.Random(number), number, now_ms)) + b"\n"
        chunk = Chunk(EVENTS, 0, payload, 2 * number, 2 * number + 1)
        batch = decode_chunk(chunk, now_ms=now_ms, series=SeriesTable()).batch
        yield Step(0, 2 * number, 2 * number + 1, now_ms, now_ms, batch=batch)


def _control(number: int, now_ms: int) -> list[Any]:
    common = {"changed_by": "ann", "changed_ms": now_ms}
    if number == 2:
        return [
            CampaignRecord(
                key=f"campaign/{org}/{name}",
                org_id=org,
                campaign_id=name,
                version=1,
                campaign={"campaign_id": name, "name": name, "currency": "EUR", **fields},
                **common,
            )
            for org in ORGANISATIONS
            for name, fields in _DEFINED.items()
        ]
    if number in (60, 90):
        action = "pause" if number == 60 else "resume"
        key = "override/acme/goal/state"
        return [OverrideRecord(key=key, org_id="acme", campaign_id="goal", version=number, action=action, **common)]
    return []


def _corrections(number: int, now_ms: int) -> list[Correction]:
    return [
        Correction(
            correction_id=f"{org}-{number // again}",
            org_id=org,
            campaign_id=campaign,
            ts_ms=now_ms - 5_000,
            cause=Cause.REFUND,
            creative_id="c0",
            country="DE",
            device="mobile",
            impressions=-1,
            spend_micros=-10_000 * number,
        )
        for org, campaign, again in (("acme", "daily", 1), ("globex", "goal", 2))
    ]


def _lines(rng: random.Random, number: int, now_ms: int) -> Iterator[bytes]:
    for event in range(60):
        campaign = rng.choice([*_DEFINED, "goal", "clicks", f"unknown-{rng.randrange(9)}"])
        # Now and then a duplicate, an old event, a new series.
        key = f"{number - rng.choice([0, 0, 0, 1])}-{event}"
        fields: dict[str, Any] = {
            "event_id": key,
            "org_id": rng.choice(ORGANISATIONS),
            "type": rng.choice(["impression"] * 8 + ["click"] * 3 + ["conversion"]),
            "ts": now_ms - rng.choice([0, 0, 700, 4_000, 900_000, 90_000_000]),
            "campaign_id": campaign,
            "creative_id": f"c{rng.randrange(1 + number // 20)}",
            "device": rng.choice(DEVICES),
            "country": rng.choice(["DE", "FR"]),
            "user_id": f"u{rng.randrange(40 * (1 + number))}",
            "cost_micros": rng.randrange(900_000),
        }
        if fields["type"] == "conversion":
            fields["revenue_micros"] = rng.randrange(30_000_000)
        yield msgspec.json.encode(fields)


def shard() -> CampaignShard:
    """A shard with bounds that the history passes."""
    return CampaignShard(0, 1, 1, LIMITS)


def said(outputs: list[Output]) -> list[list[bytes]]:
    """What a shard said in each step, in bytes and sorted: in which order campaigns come hangs on their slots."""
    return [sorted(map(_encoder.encode, _parts(output))) for output in outputs]


def _parts(output: Output) -> Iterator[Any]:
    yield from output.decisions
    yield from output.verdicts
    yield from output.applied
    for batch in output.kpis:
        columns = msgspec.structs.asdict(batch.columns())
        yield from zip(*columns.values(), strict=True)
