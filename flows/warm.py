"""Before the first event: compiled kernels loaded, the garbage collector told what stays."""

from __future__ import annotations

import gc
from typing import Final

from flows.logic.campaigns.shard import CampaignShard
from flows.logic.routing import CampaignRoutes, Homes
from flows.logic.step import Step
from schemas.control import CampaignRecord
from schemas.corrections import Cause, Correction
from schemas.decode import decode_chunk
from schemas.events import DEFAULT_ORG
from schemas.log import Chunk
from schemas.topics import EVENTS

_NOW_MS: Final = 1_700_000_000_000
_NEXT_DAY_MS: Final = _NOW_MS + 86_400_000
# Columns are freed by reference counts; the collector is only there for rare cycles, and its passes over a batch's
# many lists cost more than the batch.
_GC_THRESHOLDS: Final = (100_000, 20, 20)
_LINES: Final = (
    b'{"event_id":"a","type":"impression","ts":1700000000000,"campaign_id":"warm","cost_micros":1,"user_id":"u"}',
    b'{"event_id":"b","type":"click","ts":1700000000000,"campaign_id":"warm","impression_id":"a"}',
    b'{"event_id":"b","type":"click","ts":1700000000000,"campaign_id":"warm","impression_id":"a"}',
)
_WITH_A_GOAL: Final = CampaignRecord(
    key="",
    org_id=DEFAULT_ORG,
    campaign_id="warm",
    version=1,
    changed_by="",
    changed_ms=0,
    campaign={
        "campaign_id": "warm",
        "name": "warm",
        "currency": "EUR",
        "bidding": {"strategy": "target_cpa", "target_cpa_micros": 1},
    },
)
_CORRECTION: Final = Correction(
    correction_id="", org_id=DEFAULT_ORG, campaign_id="warm", ts_ms=_NOW_MS, cause=Cause.NOTE, spend_micros=-1
)


def load_kernels() -> None:
    """Take a few events and a tick through every stage; nothing of it is kept."""
    payload = b"\n".join(_LINES) + b"\n"
    decoded = decode_chunk(Chunk(EVENTS, 0, payload, 0, len(payload)), now_ms=_NOW_MS)
    campaigns = CampaignShard(0, 1, 1)
    end = len(payload)
    span = Step(0, 0, end, _NOW_MS, _NOW_MS, batch=decoded.batch)
    ticks = [Step(0, place, place, now_ms, now_ms, tick=True) for place, now_ms in ((0, _NOW_MS), (end, _NEXT_DAY_MS))]
    ticks[0].control.append(_WITH_A_GOAL)
    ticks[1].corrections.append(_CORRECTION)
    for step in (ticks[0], span, ticks[1]):
        campaigns.step(step)
    # As in a cluster with several partitions.
    CampaignRoutes(2).split(span)
    Homes(2).of(decoded.batch)
    campaigns.drain()
    CampaignShard.restore(campaigns.snapshot(), 0, 1, 1)


def settle_collector() -> None:
    """Keep the garbage collector off what start-up made, and from looking often: its passes took half the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
