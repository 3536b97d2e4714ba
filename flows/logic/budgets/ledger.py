"""Budgets: what was spent of them, and the pauses and resumes that follow from it.

The sums live in the rows of `camp` and are added by the kernel, event by event; here is what happens where the kernel
stops: a budget was reached, a day or week began, a campaign started or ended, a person set something.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from flows.logic.budgets.kinds import BUDGETS, Budget
from flows.logic.budgets.periods import day_bounds, day_from, week_bounds, week_from
from flows.logic.campaigns.registry import Registry
from flows.logic.kept import KeptRows
from flows.logic.windows import layout as at
from flows.logic.windows.arrays import Arrays
from schemas.campaigns import Campaign, CampaignStatus
from schemas.control import CampaignRecord, OverrideRecord
from schemas.decision_parts import LedgerInputs, StateChange, Undo
from schemas.decisions import Decision, Kind, Pause, Reason, Resume, decision_id

POLICY: Final = "budget-ledger/1"
UTC_ZONE: Final = "UTC"
# Days after which a campaign's periods are looked up anew instead of rolled on one by one.
_ROLLED_DAYS_MAX: Final = 40
_DAY_MS: Final = 86_400_000
_BY_REASON: Final = {budget.reason: budget for budget in BUDGETS}


@dataclass(slots=True)
class Standing:
    """What people set for a campaign, and why it is paused."""

    record: CampaignRecord | None = None
    campaign: Campaign | None = None
    # A person's pause that is not lifted yet.
    override: OverrideRecord | None = None
    reason: Reason | None = None
    # The budget's limit and period at the time of the pause.
    limit_micros: int = 0
    period_start_ms: int = 0
    changes: int = 0
    # The id of the last pause by a budget, before a number was added, and how often it came since.
    budget_pause: str = ""
    repeats: int = 0

    @property
    def zone(self) -> str:
        return UTC_ZONE if self.campaign is None else self.campaign.time_zone

    @property
    def version(self) -> int:
        return 0 if self.record is None else self.record.version


_UNDEFINED: Final = Standing()
# A campaign's spend by day and by week, from the period before to the one after, in its row of `camp`.
_SPENT_DAYS: Final = ("spent_day_before", "spent_day", "spent_day_after")
_SPENT_WEEKS: Final = ("spent_week_before", "spent_week", "spent_week_after")


class KeptStanding(msgspec.Struct, kw_only=True):
    """A standing in a snapshot; the definition is made from its record again."""

    record: CampaignRecord | None
    override: OverrideRecord | None
    reason: Reason | None
    limit_micros: int
    period_start_ms: int
    changes: int
    budget_pause: str
    repeats: int


@dataclass(frozen=True, slots=True)
class Cause:
    """What made the ledger look at a campaign."""

    ts_ms: int
    # Position of the event, when one did.
    event: str | None = None
    # A person changed a definition or an override.
    person: bool = False
    # Spend was corrected; then `event` names the correction.
    corrected: bool = False


class Ledger:
    """Budgets and states of the campaigns of one shard."""

    def __init__(self, arrays: Arrays, registry: Registry) -> None:
        self._arrays = arrays
        self._registry = registry
        self.standings: dict[int, Standing] = {}
        # Campaigns that were paused, resumed or are held for another reason, until somebody takes them out.
        self.changed: set[int] = set()
        # Definitions from foreign writers that do not hold what a campaign must.
        self.bad_definitions = 0

    def standing(self, slot: int) -> Standing:
        return self.standings.get(slot, _UNDEFINED)

    def _row(self, slot: int) -> np.void:
        return self._arrays.campaign(slot)

    @staticmethod
    def _clock_ms(row: np.void) -> int:
        return int(row["watermark_ms"] + row["behind_ms"])

    def begin(self, slot: int, watermark_ms: int) -> None:
        """Give a campaign its first periods, around a watermark."""
        row, zone = self._row(slot), self.standing(slot).zone
        row["watermark_ms"] = watermark_ms
        row["behind_ms"] = 0
        start, end = day_bounds(zone, watermark_ms)
        row["day_before_start_ms"] = day_bounds(zone, start - 1)[0]
        row["day_start_ms"], row["day_end_ms"], row["day_after_end_ms"] = start, end, day_from(zone, end)
        start, end = week_bounds(zone, watermark_ms)
        row["week_before_start_ms"] = week_bounds(zone, start - 1)[0]
        row["week_start_ms"], row["week_end_ms"] = start, end
        self._set_boundary(slot, watermark_ms)

    def _set_boundary(self, slot: int, clock_ms: int) -> None:
        row, campaign = self._row(slot), self.standing(slot).campaign
        bounds = (row["day_before_start_ms"], row["day_start_ms"], row["day_end_ms"])
        row["half_hours"] = int(any(bound % at.HOUR_MS != 0 for bound in bounds))
        dates = [] if campaign is None else [campaign.start_ms, campaign.end_ms]
        ahead = [date for date in dates if date is not None and date > clock_ms]
        row["boundary_ms"] = min(int(row["day_end_ms"]), int(row["week_end_ms"]), *ahead)

    def rollover(self, slot: int, cause: Cause) -> list[Decision]:
        """Move a campaign's periods on to its clock, and see whether it runs now."""
        row, zone = self._row(slot), self.standing(slot).zone
        clock_ms = self._clock_ms(row)
        before = {budget.reason: int(row[budget.spent]) for budget in BUDGETS}
        if clock_ms - row["day_end_ms"] > _ROLLED_DAYS_MAX * _DAY_MS:
            watermark_ms, behind_ms = int(row["watermark_ms"]), int(row["behind_ms"])
            self.begin(slot, clock_ms)
            row["watermark_ms"], row["behind_ms"] = watermark_ms, behind_ms
            for spent in (*_SPENT_DAYS, *_SPENT_WEEKS):
                row[spent] = 0
        while clock_ms >= row["day_end_ms"]:
            row["day_before_start_ms"], row["day_start_ms"] = row["day_start_ms"], row["day_end_ms"]
            row["day_end_ms"] = row["day_after_end_ms"]
            row["day_after_end_ms"] = day_from(zone, int(row["day_end_ms"]))
            _shift(row, _SPENT_DAYS)
        while clock_ms >= row["week_end_ms"]:
            row["week_before_start_ms"], row["week_start_ms"] = row["week_start_ms"], row["week_end_ms"]
            row["week_end_ms"] = week_from(zone, int(row["week_end_ms"]))
            _shift(row, _SPENT_WEEKS)
        self._set_boundary(slot, clock_ms)
        return self.review(slot, cause, before)

    def budget_reached(self, slot: int, cause: Cause) -> list[Decision]:
        """The pause of a campaign whose event reached a budget."""
        self._row(slot)["state"] = at.RUNNING
        return self.review(slot, cause, None)

    def define(self, slot: int, record: CampaignRecord) -> list[Decision]:
        """Take a definition over: budgets at once, a new time zone from the end of the current local day."""
        try:
            campaign = record.definition()
        except ValueError:
            self.bad_definitions += 1
            return []
        standing = self.standings.setdefault(slot, Standing())
        standing.record, standing.campaign = record, campaign
        row = self._row(slot)
        for budget, limit in zip(
            BUDGETS,
            (campaign.total_budget_micros, campaign.weekly_budget_micros, campaign.daily_budget_micros),
            strict=True,
        ):
            row[budget.limit] = at.FAR_MS if limit is None else limit
        if row["state"] == at.UNKNOWN:
            row["state"] = at.RUNNING
        clock_ms = self._clock_ms(row)
        if row["seen"] == 0:
            self.begin(slot, clock_ms)
        else:
            row["day_after_end_ms"] = day_from(campaign.time_zone, int(row["day_end_ms"]))
            self._set_boundary(slot, clock_ms)
        return self.review(slot, Cause(clock_ms, person=True), None)

    def override(self, slot: int, record: OverrideRecord) -> list[Decision]:
        """Take a person's word: `pause` holds until `resume` or `lift`; neither spends past a budget."""
        standing = self.standings.setdefault(slot, Standing())
        if record.action == "pause":
            standing.override = record
        elif record.action in ("resume", "lift"):
            standing.override = None
        row = self._row(slot)
        return self.review(slot, Cause(self._clock_ms(row), person=True), None)

    def corrected(self, slot: int, correction: str) -> list[Decision]:
        """Spend was corrected, by whom `correction` names: is there room again, or none left?"""
        return self.review(slot, Cause(self._clock_ms(self._row(slot)), correction, corrected=True), None)

    def limit(self, slot: int, budget: Budget) -> int | None:
        """The budget in force, in micros; None without one."""
        limit = int(self._row(slot)[budget.limit])
        return None if limit == at.FAR_MS else limit

    def set_limits(self, slot: int, limits: dict[Budget, int]) -> list[Decision]:
        """Set budgets that a person approved; they hold until the definition next changes."""
        row = self._row(slot)
        for budget, limit in limits.items():
            row[budget.limit] = limit
        return self.review(slot, Cause(self._clock_ms(row), person=True), None)

    def runs(self, slot: int) -> bool:
        """Whether the campaign may deliver."""
        return bool(self._row(slot)["state"] == at.RUNNING)

    def hold(self, slot: int) -> Reason | None:
        """Why the campaign must not run now; None when it may."""
        standing, row = self.standing(slot), self._row(slot)
        campaign = standing.campaign
        if campaign is None:
            return None
        if standing.override is not None or campaign.status is not CampaignStatus.ACTIVE:
            return Reason.PAUSED_BY_PERSON
        clock_ms = self._clock_ms(row)
        if campaign.start_ms is not None and clock_ms < campaign.start_ms:
            return Reason.NOT_STARTED
        if campaign.end_ms is not None and clock_ms >= campaign.end_ms:
            return Reason.ENDED
        return next(
            (budget.reason for budget in BUDGETS if row[budget.spent] + row["reserve"] >= row[budget.limit]), None
        )

    def review(self, slot: int, cause: Cause, before: dict[Reason, int] | None) -> list[Decision]:
        """Pause or resume where what is differs from what must be; `before` is what was spent when periods ended."""
        row = self._row(slot)
        if row["state"] == at.UNKNOWN:
            return []
        standing = self.standing(slot)
        hold = self.hold(slot)
        running = row["state"] == at.RUNNING
        row["state"] = at.RUNNING if hold is None else at.PAUSED
        if hold is not standing.reason:
            self.changed.add(slot)
        if running == (hold is None):
            self._note(standing, row, hold)
            return []
        standing.changes += 1
        row["stale"] = 1
        if hold is not None:
            self._note(standing, row, hold)
            return [self._pause(slot, hold, cause)]
        held, standing.reason = standing.reason, None
        return [self._resume(slot, held, cause, before)]

    def _note(self, standing: Standing, row: np.void, hold: Reason | None) -> None:
        if hold is standing.reason:
            return
        standing.reason = hold
        budget = None if hold is None else _BY_REASON.get(hold)
        if budget is not None:
            standing.limit_micros = int(row[budget.limit])
            standing.period_start_ms = self._period_start(budget, row)

    def _period_start(self, budget: Budget, row: np.void) -> int:
        return 0 if budget.start is None else int(row[budget.start])

    def _pause(self, slot: int, reason: Reason, cause: Cause) -> Decision:
        standing, row = self.standing(slot), self._row(slot)
        budget = _BY_REASON.get(reason)
        inputs = LedgerInputs(version=standing.version)
        key: list[str | int] = [standing.version]
        if budget is not None:
            start = self._period_start(budget, row)
            spent, limit = int(row[budget.spent]), int(row[budget.limit])
            _name_budget(inputs, budget.period, start, spent, limit)
            _name_in_flight(inputs, spent, limit, row)
            key += [budget.period, start]
            again = "/".join(map(str, key))
            standing.repeats = standing.repeats + 1 if again == standing.budget_pause else 0
            standing.budget_pause = again
            # A budget can be reached again in one period: after spend under way came in, after an approved raise.
            key += [standing.repeats] if standing.repeats else []
        else:
            key.append(standing.changes)
        return self._decision(slot, Kind.PAUSE, reason, key, cause, cause.ts_ms, inputs)

    def _resume(self, slot: int, held: Reason | None, cause: Cause, before: dict[Reason, int] | None) -> Decision:
        standing, row = self.standing(slot), self._row(slot)
        budget = None if held is None else _BY_REASON.get(held)
        inputs = LedgerInputs(version=standing.version)
        key: list[str | int] = [standing.version]
        effective_ms = cause.ts_ms
        if budget is not None and held is not None:
            start = self._period_start(budget, row)
            spent = int(row[budget.spent]) if before is None else before[held]
            _name_budget(inputs, budget.period, start, spent, standing.limit_micros)
            inputs.overspend_micros = max(0, spent - standing.limit_micros)
            key += [budget.period, start]
            if start > standing.period_start_ms:
                reason, effective_ms = Reason.NEXT_PERIOD, start
            else:
                raised = row[budget.limit] > standing.limit_micros
                settled = Reason.BUDGET_RAISED if raised else Reason.IN_FLIGHT_SETTLED
                reason = Reason.SPEND_CORRECTED if cause.corrected else settled
                inputs.budget_micros = int(row[budget.limit])
                key.append(standing.changes)
        else:
            reason = Reason.RESUMED_BY_PERSON if held is Reason.PAUSED_BY_PERSON else Reason.STARTED
            key.append(standing.changes)
        return self._decision(slot, Kind.RESUME, reason, key, cause, effective_ms, inputs)

    def _decision(
        self,
        slot: int,
        kind: Kind,
        reason: Reason,
        key: list[str | int],
        cause: Cause,
        effective_ms: int,
        inputs: LedgerInputs,
    ) -> Decision:
        org_id, campaign_id = self._registry.campaigns.key(slot)
        before, after = ("active", "paused") if kind is Kind.PAUSE else ("paused", "active")
        undo = Kind.RESUME if kind is Kind.PAUSE else Kind.PAUSE
        made = Pause if kind is Kind.PAUSE else Resume
        return made(
            decision_id=decision_id(org_id, campaign_id, kind, reason, *key),
            org_id=org_id,
            campaign_id=campaign_id,
            reason=reason.value,
            ts_ms=cause.ts_ms,
            effective_ms=effective_ms,
            before=StateChange(before),
            after=StateChange(after),
            inputs=inputs,
            policy=POLICY,
            undo=Undo(kind=undo.value, after=StateChange(before)),
            cause_event=cause.event,
        )

    def snapshot(self) -> KeptRows:
        """By slot the packed `KeptStanding` of each campaign that people set something for."""
        return KeptRows((slot, msgspec.msgpack.encode(_kept(standing))) for slot, standing in self.standings.items())

    def load(self, rows: KeptRows) -> None:
        """Take the rows of a snapshot."""
        for slot, packed in rows.items():
            self.standings[slot] = _standing_of(msgspec.msgpack.decode(packed, type=KeptStanding))


def _kept(standing: Standing) -> KeptStanding:
    return KeptStanding(
        record=standing.record,
        override=standing.override,
        reason=standing.reason,
        limit_micros=standing.limit_micros,
        period_start_ms=standing.period_start_ms,
        changes=standing.changes,
        budget_pause=standing.budget_pause,
        repeats=standing.repeats,
    )


def _standing_of(kept: KeptStanding) -> Standing:
    return Standing(
        record=kept.record,
        campaign=None if kept.record is None else kept.record.definition(),
        override=kept.override,
        reason=kept.reason,
        limit_micros=kept.limit_micros,
        period_start_ms=kept.period_start_ms,
        changes=kept.changes,
        budget_pause=kept.budget_pause,
        repeats=kept.repeats,
    )


def _shift(row: np.void, spent: tuple[str, str, str]) -> None:
    """A period has ended: what was spent in the next one is now this one's."""
    before, now, after = spent
    row[before], row[now], row[after] = row[now], row[after], 0


def _name_in_flight(inputs: LedgerInputs, spent: int, limit: int, row: np.void) -> None:
    """The estimate that a pause came early by, and the overspend that it leaves if it is right."""
    reserve = int(row["reserve"])
    if reserve == 0:
        return
    inputs.in_flight_micros = reserve
    inputs.reporting_delay_ms = int(row["delay_ms"])
    inputs.overspend_bound_micros = max(0, spent + reserve - limit)


def _name_budget(inputs: LedgerInputs, period: str, start_ms: int, spent: int, limit: int) -> None:
    inputs.period, inputs.period_start_ms = period, start_ms
    inputs.spend_micros, inputs.budget_micros, inputs.in_flight_micros = spent, limit, 0
