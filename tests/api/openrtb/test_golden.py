"""Golden files: what is answered to which request for which campaign. They double as documentation."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from api.openrtb.bidder import Bidder
from api.openrtb.roster import Roster
from api.serving import MemoryServing
from schemas import topics
from schemas.campaigns import Campaign
from schemas.control import CampaignRecord, encode_control
from schemas.log import Chunk
from tests.support.served import words_of

GOLDEN = Path(__file__).parent / "golden"
NOW_MS = 1_790_000_000_000


def bidder_with(*campaigns: dict[str, Any]) -> Bidder:
    """A bidder that serves these campaigns at two dollars a thousand unless they say otherwise."""
    roster, serving = Roster(), MemoryServing(lambda *_: None)
    for offset, given in enumerate(campaigns):
        whole = {
            "campaign_id": "c", "name": "c", "currency": "USD", "bidding": {"bid_micros": 2_000_000}, **given,
        }  # fmt: skip
        campaign = Campaign.model_validate(whole)
        record = CampaignRecord(
            key=f"campaign/default/{campaign.campaign_id}", org_id="default", campaign_id=campaign.campaign_id,
            version=1, changed_by="t", changed_ms=0, campaign=campaign.model_dump(mode="json"),
        )  # fmt: skip
        chunk = Chunk(topics.CONTROL, 0, encode_control(record) + b"\n", offset, offset + 1)
        roster.take(chunk)
        serving.take(words_of(chunk.records()))
    rates = {"USD": 1.0, "EUR": 0.9}
    return Bidder(roster, serving, lambda: NOW_MS, lambda: 0.5, b"secret", "https://bidder.example", rates)


def asked(case: dict[str, Any]) -> Any:
    """The answer, its tickets by a name."""
    answer = bidder_with(case["campaign"]).answer(json.dumps(case["request"]).encode(), "default")
    assert answer is not None
    return json.loads(re.sub(rb"t(=|%3D)[A-Za-z0-9_-]{80,}", rb"t\1TICKET", answer))


def cases() -> list[Any]:
    return [
        pytest.param(case, id=f"{path.stem}: {case['name']}")
        for path in sorted(GOLDEN.glob("*.json"))
        for case in json.loads(path.read_text())
    ]


@pytest.mark.parametrize("case", cases())
def test_this_request_gets_this_answer(case: dict[str, Any]) -> None:
    assert asked(case) == case["response"]
