"""Decisions for tests that care about a part of them."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas import decisions
from schemas.decisions import Decision, Kind, Reason, encode_decision

_STATES = {Kind.PAUSE: ("active", "paused"), Kind.RESUME: ("paused", "active")}


def decision_of(**fields: Any) -> Decision:
    """The decision of names and values; changes that are not of its kind become such."""
    kind, undo = fields["kind"], fields.get("undo")
    before, after = fields["before"], fields["after"]
    if kind in _STATES:
        before, after = ({"state": state} for state in _STATES[Kind(kind)])
    elif before.keys() != after.keys():
        before = after
    if undo is not None:
        undo = msgspec.to_builtins(undo) | {"after": before}
    return decisions.decision_of(**fields | {"before": before, "after": after, "undo": undo})


def decision(number: int, kind: Kind, **given: Any) -> bytes:
    """The record of a decision of a budget on campaign c1 of acme."""
    return encode_decision(
        decision_of(
            decision_id=f"d{number}", org_id="acme", campaign_id="c1", kind=kind.value,
            reason=Reason.DAILY_BUDGET_REACHED.value, ts_ms=number, effective_ms=number, before={}, policy="p",
            inputs={}, **({"after": {}} | given),
        )
    )  # fmt: skip
