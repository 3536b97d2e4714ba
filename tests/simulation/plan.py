"""What will happen in a history, drawn from its seed before it begins, so that parts of it can be left out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final

from schemas.campaigns import Campaign, PlatformLink
from schemas.corrections import Cause, Correction, Grain
from schemas.topics import partition_of
from tests.simulation.clock import START_MS

LENGTH_MS: Final = 30_000
ORGS: Final = ("default", "acme")
ZONES: Final = ("UTC", "Europe/Berlin", "America/New_York")
UNITS: Final = 1_000_000


@dataclass(frozen=True)
class Batch:
    """Lines that one sender sends in one request."""

    at_ms: int
    name: str
    org_id: str
    payload: bytes
    event_ids: tuple[str, ...]
    # How often it is sent again before the sender gives up.
    retries: int


@dataclass(frozen=True)
class Change:
    """What a person does to a campaign: a new definition, or an override."""

    at_ms: int
    org_id: str
    campaign_id: str
    definition: dict[str, Any] | None = None
    action: str = ""


@dataclass(frozen=True)
class Said:
    """A correction that somebody sends, `times` times."""

    at_ms: int
    correction: Correction
    times: int = 1


@dataclass(frozen=True)
class Fault:
    """What goes wrong: `what` befalls `where`, `amount` says how much."""

    at_ms: int
    what: str
    where: str = ""
    amount: float = 0.0

    def __str__(self) -> str:
        return f"{self.at_ms / 1_000:6.2f} s  {self.what} {self.where} {self.amount:g}"


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before a history begins."""

    seed: int
    log: str
    partitions: int
    shards: int
    dedupe_ids: int
    segment_bytes: int
    epoch_s: float
    zones: dict[tuple[str, str], str]
    batches: tuple[Batch, ...] = ()
    changes: tuple[Change, ...] = ()
    corrections: tuple[Said, ...] = ()
    faults: tuple[Fault, ...] = ()

    def without(self, fault: Fault) -> Plan:
        """The same history without a fault."""
        return replace(self, faults=tuple(one for one in self.faults if one is not fault))


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    rng = Random(f"{seed}/plan")
    campaigns = [(org, name) for org in ORGS for name in ("a", "b")] + [("default", "unknown")]
    partitions = rng.choice((1, 1, 2))
    plan = Plan(
        seed=seed,
        log="kafka" if rng.random() < 0.4 else "local",
        partitions=partitions,
        shards=rng.choice((1, 1, 1, 2)),
        # What is evicted depends on how partitions interleave, which no log keeps: small memories go with one.
        dedupe_ids=rng.choice((37, 48, 64, 100, 4_096)) if partitions == 1 else 4_096,
        segment_bytes=rng.choice((2_000, 6_000, 2**20)),
        epoch_s=rng.choice((0.5, 1.0, 3.0)),
        zones={key: rng.choice(ZONES) for key in campaigns},
    )
    return replace(
        plan,
        batches=tuple(_Traffic(rng, campaigns).batches()),
        changes=tuple(_changes(rng, plan, campaigns[:-1])),
        faults=tuple(_faults(rng)),
        # By chance of their own: the rest of a seed's history is what it was before there were corrections.
        corrections=tuple(_corrections(Random(f"{seed}/corrections"), campaigns)),
    )


@dataclass
class _Traffic:
    """Events of several campaigns, some late, some sent twice, some that are no events."""

    rng: Random
    campaigns: list[tuple[str, str]]
    number: int = 0
    kept: list[tuple[str, bytes, str]] = field(default_factory=list)

    def batches(self) -> list[Batch]:
        found = []
        moments = sorted(self.rng.randrange(LENGTH_MS) for _ in range(self.rng.randrange(8, 32)))
        for number, at_ms in enumerate(moments):
            org = self.rng.choice(ORGS)
            lines, ids = [], []
            for _ in range(self.rng.randrange(1, 9)):
                event_id, line = self._line(org, at_ms)
                lines.append(line)
                ids.append(event_id)
            retries = 0 if self.rng.random() < 0.2 else 50
            found.append(Batch(at_ms, f"batch-{number}", org, b"\n".join(lines), tuple(ids), retries))
        return found

    def _line(self, org: str, at_ms: int) -> tuple[str, bytes]:
        rng = self.rng
        before = [(line, id_) for owner, line, id_ in self.kept[-400:] if owner == org]
        if before and rng.random() < 0.06:
            line, event_id = rng.choice(before)
            return event_id, line
        self.number += 1
        event_id = f"e{self.number}"
        if rng.random() < 0.01:
            return event_id, b'{"event_id":"%s","type":"impression"' % event_id.encode()
        campaign = rng.choice([name for owner, name in self.campaigns if owner == org])
        event = {
            "event_id": event_id,
            "type": rng.choices(("impression", "click", "conversion"), (80, 15, 5))[0],
            "ts": START_MS + at_ms - self._age_ms(),
            "campaign_id": campaign,
            "creative_id": rng.choice(("x", "y")),
            "user_id": f"u{rng.randrange(12)}",
            "cost_micros": rng.randrange(1, 10) * UNITS,
            "revenue_micros": rng.randrange(3) * UNITS,
        }
        line = json.dumps(event).encode()
        self.kept.append((org, line, event_id))
        return event_id, line

    def _age_ms(self) -> int:
        """How old an event is when it is sent: mostly seconds; minutes to a day and a half for late ones."""
        dice = self.rng.random()
        if dice < 0.90:
            return self.rng.randrange(3_000)
        if dice < 0.93:
            return -self.rng.randrange(2_000)
        return self.rng.choice((60_000, 1_300_000, 7_200_000, 90_000_000)) + self.rng.randrange(5_000)


def _definition(rng: Random, plan: Plan, org_id: str, campaign_id: str) -> dict[str, Any]:
    definition: dict[str, Any] = {
        "campaign_id": campaign_id,
        "org_id": org_id,
        "name": campaign_id,
        "currency": "EUR",
        "time_zone": plan.zones[org_id, campaign_id],
        "platforms": [PlatformLink(platform="facebook", account_id="1", campaign_ref=f"{org_id}-{campaign_id}")],
    }
    for name, least in (("daily", 40), ("weekly", 90), ("total", 120)):
        if rng.random() < (0.7 if name == "daily" else 0.25):
            definition[f"{name}_budget_micros"] = rng.randrange(least, 3 * least) * UNITS
    if rng.random() < 0.15:
        definition["end"] = START_MS + rng.randrange(5_000, LENGTH_MS)
    if rng.random() < 0.1:
        definition["start"] = START_MS + rng.randrange(5_000)
    if rng.random() < 0.1:
        definition["status"] = "paused"
    if rng.random() < 0.3:
        definition["bidding"] = {"strategy": "max_clicks", "bid_micros": 2 * UNITS, "cooldown_ms": 1_000}
    return Campaign.model_validate(definition).model_dump(mode="json")


def _changes(rng: Random, plan: Plan, campaigns: list[tuple[str, str]]) -> list[Change]:
    changes = []
    for org_id, campaign_id in campaigns:
        first_ms = 0 if rng.random() < 0.7 else rng.randrange(LENGTH_MS)
        for number in range(rng.choice((1, 1, 2, 3))):
            at_ms = first_ms if number == 0 else rng.randrange(first_ms, LENGTH_MS)
            changes.append(Change(at_ms, org_id, campaign_id, _definition(rng, plan, org_id, campaign_id)))
        for _ in range(rng.choice((0, 0, 1, 2, 3))):
            action = rng.choice(("pause", "resume", "lift"))
            changes.append(Change(rng.randrange(first_ms, LENGTH_MS), org_id, campaign_id, action=action))
    return sorted(changes, key=lambda change: change.at_ms)


def _corrections(rng: Random, campaigns: list[tuple[str, str]]) -> list[Said]:
    """Refunds, invoices, notes: of now, of what is closed, of days before, sent twice, and more than there is."""
    found = []
    for number in range(rng.choice((0, 0, 1, 3, 12))):
        at_ms = rng.randrange(LENGTH_MS)
        org_id, campaign_id = rng.choice([*campaigns, ("acme", "nobody")])
        age_ms = rng.choice((0, 3_000, 15_000, 1_300_000, 90_000_000, 1_000_000_000))
        correction = Correction(
            correction_id=f"said-{number}",
            org_id=org_id,
            campaign_id=campaign_id,
            ts_ms=START_MS + at_ms - age_ms,
            cause=rng.choice((Cause.REFUND, Cause.PLATFORM_INVOICE, Cause.NOTE)),
            grain=rng.choice(list(Grain)),
            creative_id=rng.choice(("x", "y", "")),
            impressions=rng.choice((0, 0, 1, -1, 2)),
            clicks=rng.choice((0, 0, 1)),
            spend_micros=rng.choice((0, 5, 60, -1, -3, -20, -60, -1_000)) * UNITS,
        )
        found.append(Said(at_ms, correction, rng.choice((1, 1, 2))))
    return found


PROCESSES: Final = ("collector", "flow", "store", "serving", "actuate", "people")
WRONG_BY_S: Final = (-0.7, -30.0, 30.0, 3_600.0, -3_600.0, 86_400.0, 0.0)
LINKS: Final = ("log", "clickhouse", "redis", "platform")


def _faults(rng: Random) -> list[Fault]:
    if rng.random() < 0.1:
        return []
    faults = []
    for _ in range(rng.randrange(1, 14)):
        at_ms = rng.randrange(LENGTH_MS)
        match rng.choices(("process", "network", "clock", "disk", "power"), (6, 6, 2, 3, 1))[0]:
            case "process":
                what = rng.choice(("kill", "kill", "freeze"))
                faults.append(Fault(at_ms, what, rng.choice(PROCESSES), rng.choice((0.5, 3.0, 12.0))))
            case "network":
                what, where = rng.choice(("cut", "lost", "unanswered", "late", "lies")), rng.choice(LINKS)
                where = "clickhouse" if what == "lies" else where
                faults.append(Fault(at_ms, what, where, rng.choice((1.0, 3.0, 8.0))))
            case "clock":
                faults.append(Fault(at_ms, "clock", "", rng.choice(WRONG_BY_S)))
            case "disk":
                what = rng.choice(("full", "error", "slow", "kill in write"))
                faults.append(Fault(at_ms, what, "disk", rng.choice((0.0, 1.0, 4.0))))
            case "power":
                faults.append(Fault(at_ms, "power", "", 0.0))
    return sorted(faults, key=lambda fault: fault.at_ms)


def home(plan: Plan, campaign_id: str) -> int:
    """The partition of a campaign."""
    return partition_of(campaign_id, plan.partitions)
