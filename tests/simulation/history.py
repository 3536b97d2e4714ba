"""One history from its seed: run, judged, and made shorter when it breaks a promise."""

from __future__ import annotations

from dataclasses import dataclass

from tests.simulation.oracle import check
from tests.simulation.plan import Plan, draw
from tests.simulation.world import Violation, World


@dataclass(frozen=True)
class Finding:
    """A history that broke a promise."""

    plan: Plan
    broken: str

    def story(self) -> str:
        """The seed, what was set, what went wrong and what came of it."""
        plan = self.plan
        settings = (
            f"{plan.log} log, {plan.partitions} partitions, {plan.shards} shards, {plan.dedupe_ids} ids remembered, "
            f"segments of {plan.segment_bytes} bytes, an epoch every {plan.epoch_s:g} s"
        )
        faults = "\n".join(f"    {fault}" for fault in plan.faults) or "    no faults"
        return f"seed {plan.seed}: {self.broken}\n  {settings}\n{faults}"


def broken_by(plan: Plan) -> str | None:
    """Which promise the history breaks; None when it keeps them all."""
    world = World(plan)
    try:
        world.run()
        check(world)
    except Violation as violation:
        return str(violation)
    finally:
        world.close()
    return None


def hunt(seed: int) -> Finding | None:
    """The history of a seed; a finding when it breaks a promise."""
    plan = draw(seed)
    broken = broken_by(plan)
    return None if broken is None else Finding(plan, broken)


def shortened(finding: Finding) -> Finding:
    """The same finding with as few faults as still break a promise, each left out in turn."""
    plan, broken = finding.plan, finding.broken
    for fault in finding.plan.faults:
        fewer = plan.without(fault)
        still = broken_by(fewer)
        if still is not None:
            plan, broken = fewer, still
    return Finding(plan, broken)
