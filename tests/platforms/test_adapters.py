"""Golden files: what each platform is sent for a change, and how its answers are read. They double as documentation."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from platforms.model import Change, Response, Unsupported
from platforms.registry import ADAPTERS
from platforms.sending import plain
from schemas.campaigns import PlatformLink
from schemas.decisions import Kind

GOLDEN = Path(__file__).parent / "golden"
NOW_MS = 1_767_225_600_000


def cases(part: str) -> list[Any]:
    return [
        pytest.param(platform, case, id=f"{platform}: {case['name']}")
        for platform in ADAPTERS
        for case in json.loads((GOLDEN / f"{platform}.json").read_text())[part]
    ]


def shown(platform: str, change: dict[str, Any]) -> Any:
    """What the adapter makes of a change, as the golden files write it."""
    values = dict(change)
    link = PlatformLink(platform=platform, **values.pop("link"))  # type: ignore[arg-type]
    kind = Kind(values.pop("kind"))
    made = ADAPTERS[platform].make_requests(Change(kind, link, decision_id="d1", **values))
    return {"unsupported": made.message} if isinstance(made, Unsupported) else plain(made)


@pytest.mark.parametrize(("platform", "case"), cases("requests"))
def test_a_change_makes_these_requests(platform: str, case: dict[str, Any]) -> None:
    assert shown(platform, case["change"]) == case["made"]


@pytest.mark.parametrize(("platform", "case"), cases("responses"))
def test_an_answer_is_read_so(platform: str, case: dict[str, Any]) -> None:
    outcome = ADAPTERS[platform].read_response(Response(**case["response"], received_ms=NOW_MS))
    shown = {"is": type(outcome).__name__, **dataclasses.asdict(outcome)}
    # Whether it may take effect all the same is the sender's to say, for every platform alike.
    assert not shown.pop("unknown", False)
    assert shown == case["outcome"]
