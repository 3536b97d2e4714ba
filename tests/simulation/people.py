"""The control plane: people's changes, committed in its database, on their way to topic `control` by an outbox."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from schemas.control import CampaignRecord, ControlRecord, OverrideRecord, encode_control
from schemas.log import Log, LogUnavailableError
from schemas.topics import CONTROL
from tests.simulation.clock import SimClock
from tests.simulation.plan import Change
from tests.simulation.process import Process


@dataclass
class Database:
    """What the control plane has committed; it outlives its process."""

    changes: list[Change] = field(default_factory=list)
    records: list[ControlRecord] = field(default_factory=list)
    published: int = 0
    versions: dict[str, int] = field(default_factory=dict)

    def commit(self, change: Change, now_ms: int) -> None:
        """Write a change and its record."""
        self.changes.append(change)
        org_id, campaign_id = change.org_id, change.campaign_id
        kind = "override" if change.definition is None else "campaign"
        counted = f"{kind}/{org_id}/{campaign_id}"
        version = self.versions[counted] = self.versions.get(counted, 0) + 1
        if change.definition is not None:
            self.records.append(
                CampaignRecord(
                    key=counted, org_id=org_id, campaign_id=campaign_id, version=version, changed_by="p",
                    changed_ms=now_ms, campaign=change.definition,
                )
            )  # fmt: skip
            return
        slot = "lift" if change.action == "lift" else "state"
        self.records.append(
            OverrideRecord(
                key=f"{counted}/{slot}", org_id=org_id, campaign_id=campaign_id, version=version, changed_by="p",
                changed_ms=now_ms, action=change.action,
            )
        )  # fmt: skip


class People(Process):
    """Publishes what is committed: appended first, marked afterwards, so a crash between publishes again."""

    name = "people"

    def __init__(self, clock: SimClock, rng: Random, open_log: Callable[[], Log], database: Database) -> None:
        super().__init__(clock, rng)
        self._open = open_log
        self.database = database

    def open_log(self) -> Log:
        return self._open()

    def start(self) -> None:
        self._unmarked = 0

    def step(self) -> bool:
        database = self.database
        if self.rng.random() < 0.1:
            self.log.upkeep()  # type: ignore[attr-defined]
        if self._unmarked:
            database.published += self._unmarked
            self._unmarked = 0
            return True
        waiting = database.records[database.published :]
        if not waiting:
            return False
        some = waiting[: self.rng.choice((1, 2, 10))]
        try:
            self.log.append(CONTROL, 0, [encode_control(one) for one in some], keys=[one.key for one in some])
        except LogUnavailableError:
            return False
        self._unmarked = len(some)
        return True
