"""What goes to a campaign shard: its rows of one span of a partition, or a control point between two spans."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.batch import EventBatch
from schemas.control import ControlRecord
from schemas.corrections import Applied, Correction
from schemas.decisions import Decision
from schemas.kpis import KpiBatch, Verdicts
from schemas.live import CampaignLive
from schemas.serving import Serving


@dataclass(slots=True)
class Step:
    """A shard's part of one span of a partition, its rows in log order.

    Every span goes to every shard, empty where it has nothing for it, so that each says its part of the span's verdicts
    and ticks. A span is either events (`batch`) or a control point (`tick`): the clock of `events.order` and the
    control records and corrections that came into force there.
    """

    partition: int
    first_offset: int
    next_offset: int
    # The log clock: the last order entry's. The only clock that decisions may see.
    now_ms: int
    # Wall clock when the span was read: paces live rows, never part of a decision.
    read_ms: int
    tick: bool = False
    control: list[ControlRecord] = field(default_factory=list)
    # In force after the control records.
    corrections: list[Correction] = field(default_factory=list)
    batch: EventBatch | None = None
    dead: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Output:
    """What a campaign shard has to say after one span."""

    decisions: list[Decision] = field(default_factory=list)
    kpis: list[KpiBatch] = field(default_factory=list)
    verdicts: list[Verdicts] = field(default_factory=list)
    serving: list[Serving] = field(default_factory=list)
    live: list[CampaignLive] = field(default_factory=list)
    # By organisation: campaigns and series that were counted under `~other`, since the last output that says.
    folded: dict[str, int] = field(default_factory=dict)
    # Corrections that came into force or were refused, and how many were known already.
    applied: list[Applied] = field(default_factory=list)
    corrections_again: int = 0
