"""A change that a strategy proposes, and the decision that it becomes."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from schemas.decision_parts import Change, Effect, Inputs, Undo
from schemas.decisions import CLASSES, Decision, Kind, Mode, Reason, decision_id

# Names the code and its constants: rises when the same observations would lead to other proposals.
POLICY: Final = "bidding/1"


class Proposal(msgspec.Struct, kw_only=True, frozen=True):
    """What should change, why, from which numbers, with what expected effect. `step` counts the controller's steps."""

    kind: Kind
    reason: Reason
    ts_ms: int
    step: int
    before: Change
    after: Change
    inputs: Inputs
    expected: tuple[Effect, ...] = ()


def as_decision(proposal: Proposal, *, org_id: str, campaign_id: str, mode: Mode, effective_ms: int) -> Decision:
    """The decision of a proposal; its id follows from the campaign, kind, reason, time and step, so it is stable."""
    made: type[Any] = CLASSES[proposal.kind]
    decision: Decision = made(
        decision_id=decision_id(
            org_id, campaign_id, proposal.kind, proposal.reason, POLICY, proposal.ts_ms, proposal.step
        ),
        org_id=org_id,
        campaign_id=campaign_id,
        reason=proposal.reason.value,
        ts_ms=proposal.ts_ms,
        effective_ms=effective_ms,
        before=proposal.before,
        after=proposal.after,
        inputs=proposal.inputs,
        policy=POLICY,
        mode=mode.value,
        expected=list(proposal.expected),
        undo=Undo(kind=_undo_kind(proposal.kind).value, after=proposal.before),
    )
    return decision


def _undo_kind(kind: Kind) -> Kind:
    opposite = {Kind.HALT: Kind.PROCEED, Kind.PROCEED: Kind.HALT}
    return opposite.get(kind, kind)
