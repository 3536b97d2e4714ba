"""Load the compiled kernels before the first event needs them."""

from __future__ import annotations

from typing import Final

from flows.logic.campaign_shard import CampaignShard
from flows.logic.event_shard import EventShard
from flows.logic.step import Step
from schemas.decode import decode_chunk
from schemas.log import Chunk
from schemas.topics import EVENTS

_NOW_MS: Final = 1_700_000_000_000
_NEXT_DAY_MS: Final = _NOW_MS + 86_400_000
_LINES: Final = (
    b'{"event_id":"a","type":"impression","ts":1700000000000,"campaign_id":"warm","cost_micros":1,"user_id":"u"}',
    b'{"event_id":"b","type":"click","ts":1700000000000,"campaign_id":"warm","impression_id":"a"}',
    b'{"event_id":"b","type":"click","ts":1700000000000,"campaign_id":"warm","impression_id":"a"}',
)


def load_kernels() -> None:
    """Take a few events and a tick through every stage; nothing of it is kept."""
    payload = b"\n".join(_LINES) + b"\n"
    decoded = decode_chunk(Chunk(EVENTS, 0, payload, 0, len(payload)), now_ms=_NOW_MS)
    events, campaigns = EventShard(0, 1, 1_024), CampaignShard(0, 1, 1)
    end = len(payload)
    span = Step(0, 0, end, _NOW_MS, _NOW_MS, batch=decoded.batch)
    ticks = [Step(0, place, place, now_ms, now_ms, tick=True) for place, now_ms in ((0, _NOW_MS), (end, _NEXT_DAY_MS))]
    for step in (ticks[0], span, ticks[1]):
        for part in events.step(step):
            campaigns.step(part)
    EventShard.restore(events.snapshot(), 0, 1, 1_024)
    campaigns.drain()
    CampaignShard.restore(campaigns.snapshot(), 0, 1, 1)
