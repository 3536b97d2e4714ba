"""Decisions as they are written: typed by kind, and the same bytes as ever.

`decisions.ndjson` holds, of a recorded run of the campaign stage from before kinds had types, one decision of each
shape: budgets of all periods, bids of all strategies, people's words, portfolios, modifiers, the circuit breaker.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.decisions import (
    CLASSES,
    Kind,
    OtherDecision,
    Pause,
    SetBid,
    decision_of,
    decode_decision,
    encode_decision,
    named,
)

RECORDED = Path(__file__).with_name("decisions.ndjson").read_bytes().splitlines()


def of_kind(kind: Kind) -> dict[str, Any]:
    return next(each for each in map(json.loads, RECORDED) if each["kind"] == kind)


@pytest.mark.parametrize("line", RECORDED, ids=lambda line: "{kind}-{reason}-{mode}".format(**json.loads(line)))
def test_a_recorded_decision_is_of_its_kind_and_is_written_as_it_was_read(line: bytes) -> None:
    decision = decode_decision(line)
    assert type(decision) is CLASSES[Kind(decision.kind)]
    assert encode_decision(decision) == line
    assert encode_decision(decision_of(**json.loads(line))) == line


def test_the_recorded_run_has_decisions_of_nearly_every_kind() -> None:
    assert {json.loads(line)["kind"] for line in RECORDED} == {kind.value for kind in Kind}


def test_what_a_decision_holds_is_known_by_name() -> None:
    bids = [each for each in map(decode_decision, RECORDED) if isinstance(each, SetBid)]
    bid = next(each for each in bids if each.undo is not None)
    assert bid.undo is not None
    assert bid.undo.after.bid_micros == bid.before.bid_micros != bid.after.bid_micros
    assert named(bid.after) == {"bid_micros": bid.after.bid_micros}


def test_numbers_that_only_a_newer_version_names_do_not_keep_a_decision_from_acting() -> None:
    newer = of_kind(Kind.PAUSE)
    newer["inputs"]["moon_phase"] = 0.5
    decision = decode_decision(json.dumps(newer).encode())
    assert isinstance(decision, Pause)
    assert "moon_phase" not in named(decision.inputs)


def test_a_decision_of_a_kind_that_only_a_newer_version_knows_is_kept_as_it_is() -> None:
    newer = of_kind(Kind.PAUSE) | {"kind": "freeze", "before": {"ice": 0}, "after": {"ice": 1}, "inputs": {"cold": [1]}}
    written = msgspec.json.encode(newer)
    decision = decode_decision(written)
    assert isinstance(decision, OtherDecision)
    assert encode_decision(decision) == written


@pytest.mark.parametrize(
    ("kind", "after"),
    [(Kind.SET_BID, {}), (Kind.SET_BID, {"bid_micros": "much"}), (Kind.SET_BID_MODIFIERS, {"modifiers": [1]})],
    ids=["a bid without its number", "a bid that is text", "modifiers that are a list"],
)
def test_a_decision_that_is_not_of_its_kind_is_none(kind: Kind, after: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_decision(json.dumps(of_kind(kind) | {"after": after}).encode())
