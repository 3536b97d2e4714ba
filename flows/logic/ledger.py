"""Budgets: what was spent of them, and the pauses and resumes that follow from it.

The sums live in the rows of `camp` and are added by the kernel, event by event; here is what happens where the kernel
stops: a budget was reached, a day or week began, a campaign started or ended, a person set something.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from flows.logic import layout as at
from flows.logic.arrays import Arrays
from flows.logic.budgets import BUDGETS, Budget
from flows.logic.periods import day_bounds, day_from, week_bounds, week_from
from flows.logic.registry import Registry
from schemas.campaigns import Campaign, CampaignStatus
from schemas.control import CampaignRecord, OverrideRecord, decode_control, encode_control
from schemas.decisions import Decision, Kind, Reason, decision_id

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


# A standing in a snapshot: slot, definition, override, reason, limit, period start, changes, budget pause, repeats.
StandingRow: TypeAlias = tuple[int, bytes, bytes, str, int, int, int, str, int]


@dataclass(frozen=True, slots=True)
class Cause:
    """What made the ledger look at a campaign."""

    ts_ms: int
    # Position of the event, when one did.
    event: str | None = None
    # A person changed a definition or an override.
    person: bool = False


class Ledger:
    """Budgets and states of the campaigns of one shard."""

    def __init__(self, arrays: Arrays, registry: Registry) -> None:
        self._arrays = arrays
        self._registry = registry
        self.standings: dict[int, Standing] = {}
        # Definitions from foreign writers that do not hold what a campaign must.
        self.bad_definitions = 0

    def standing(self, slot: int) -> Standing:
        return self.standings.get(slot, _UNDEFINED)

    def _row(self, slot: int) -> NDArray[np.int64]:
        row: NDArray[np.int64] = self._arrays.state.camp[slot]
        return row

    def begin(self, slot: int, watermark_ms: int) -> None:
        """Give a campaign its first periods, around a watermark."""
        row, zone = self._row(slot), self.standing(slot).zone
        row[at.WATERMARK] = watermark_ms
        row[at.BEHIND] = 0
        start, end = day_bounds(zone, watermark_ms)
        row[at.DAY_BEFORE_START] = day_bounds(zone, start - 1)[0]
        row[at.DAY_START], row[at.DAY_END], row[at.DAY_AFTER_END] = start, end, day_from(zone, end)
        start, end = week_bounds(zone, watermark_ms)
        row[at.WEEK_BEFORE_START] = week_bounds(zone, start - 1)[0]
        row[at.WEEK_START], row[at.WEEK_END] = start, end
        self._set_boundary(slot, watermark_ms)

    def _set_boundary(self, slot: int, clock_ms: int) -> None:
        row, campaign = self._row(slot), self.standing(slot).campaign
        bounds = row[[at.DAY_BEFORE_START, at.DAY_START, at.DAY_END]]
        row[at.HALF_HOURS] = int((bounds % at.HOUR_MS != 0).any())
        dates = [] if campaign is None else [campaign.start_ms, campaign.end_ms]
        ahead = [date for date in dates if date is not None and date > clock_ms]
        row[at.BOUNDARY] = min(int(row[at.DAY_END]), int(row[at.WEEK_END]), *ahead)

    def roll(self, slot: int, cause: Cause) -> list[Decision]:
        """Move a campaign's periods on to its clock, and see whether it runs now."""
        row, zone = self._row(slot), self.standing(slot).zone
        clock_ms = int(row[at.WATERMARK] + row[at.BEHIND])
        before = {budget.reason: int(row[budget.spent]) for budget in BUDGETS}
        if clock_ms - row[at.DAY_END] > _ROLLED_DAYS_MAX * _DAY_MS:
            watermark, behind = int(row[at.WATERMARK]), int(row[at.BEHIND])
            self.begin(slot, clock_ms)
            row[at.WATERMARK], row[at.BEHIND] = watermark, behind
            row[at.SPENT_DAY_BEFORE : at.SPENT_WEEK_AFTER + 1] = 0
        while clock_ms >= row[at.DAY_END]:
            row[at.DAY_BEFORE_START], row[at.DAY_START] = row[at.DAY_START], row[at.DAY_END]
            row[at.DAY_END] = row[at.DAY_AFTER_END]
            row[at.DAY_AFTER_END] = day_from(zone, int(row[at.DAY_END]))
            row[at.SPENT_DAY_BEFORE : at.SPENT_DAY_AFTER] = row[at.SPENT_DAY : at.SPENT_DAY_AFTER + 1]
            row[at.SPENT_DAY_AFTER] = 0
        while clock_ms >= row[at.WEEK_END]:
            row[at.WEEK_BEFORE_START], row[at.WEEK_START] = row[at.WEEK_START], row[at.WEEK_END]
            row[at.WEEK_END] = week_from(zone, int(row[at.WEEK_END]))
            row[at.SPENT_WEEK_BEFORE : at.SPENT_WEEK_AFTER] = row[at.SPENT_WEEK : at.SPENT_WEEK_AFTER + 1]
            row[at.SPENT_WEEK_AFTER] = 0
        self._set_boundary(slot, clock_ms)
        return self.review(slot, cause, before)

    def tip(self, slot: int, cause: Cause) -> list[Decision]:
        """The pause of a campaign whose event reached a budget."""
        self._row(slot)[at.STATE] = at.RUNNING
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
        if row[at.STATE] == at.UNKNOWN:
            row[at.STATE] = at.RUNNING
        clock_ms = int(row[at.WATERMARK] + row[at.BEHIND])
        if row[at.SEEN] == 0:
            self.begin(slot, clock_ms)
        else:
            row[at.DAY_AFTER_END] = day_from(campaign.time_zone, int(row[at.DAY_END]))
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
        return self.review(slot, Cause(int(row[at.WATERMARK] + row[at.BEHIND]), person=True), None)

    def limit(self, slot: int, budget: Budget) -> int | None:
        """The budget in force, in micros; None without one."""
        limit = int(self._row(slot)[budget.limit])
        return None if limit == at.FAR_MS else limit

    def set_limits(self, slot: int, limits: dict[Budget, int]) -> list[Decision]:
        """Set budgets that a person approved; they hold until the definition next changes."""
        row = self._row(slot)
        for budget, limit in limits.items():
            row[budget.limit] = limit
        return self.review(slot, Cause(int(row[at.WATERMARK] + row[at.BEHIND]), person=True), None)

    def runs(self, slot: int) -> bool:
        """Whether the campaign may deliver."""
        return bool(self._row(slot)[at.STATE] == at.RUNNING)

    def hold(self, slot: int) -> Reason | None:
        """Why the campaign must not run now; None when it may."""
        standing, row = self.standing(slot), self._row(slot)
        campaign = standing.campaign
        if campaign is None:
            return None
        if standing.override is not None or campaign.status is not CampaignStatus.ACTIVE:
            return Reason.PAUSED_BY_PERSON
        clock_ms = int(row[at.WATERMARK] + row[at.BEHIND])
        if campaign.start_ms is not None and clock_ms < campaign.start_ms:
            return Reason.NOT_STARTED
        if campaign.end_ms is not None and clock_ms >= campaign.end_ms:
            return Reason.ENDED
        return next(
            (budget.reason for budget in BUDGETS if row[budget.spent] + row[at.RESERVE] >= row[budget.limit]), None
        )

    def review(self, slot: int, cause: Cause, before: dict[Reason, int] | None) -> list[Decision]:
        """Pause or resume where what is differs from what must be; `before` is what was spent when periods ended."""
        row = self._row(slot)
        if row[at.STATE] == at.UNKNOWN:
            return []
        standing = self.standing(slot)
        hold = self.hold(slot)
        running = row[at.STATE] == at.RUNNING
        row[at.STATE] = at.RUNNING if hold is None else at.PAUSED
        if running == (hold is None):
            self._note(standing, row, hold)
            return []
        standing.changes += 1
        row[at.STALE] = 1
        if hold is not None:
            self._note(standing, row, hold)
            return [self._pause(slot, hold, cause)]
        held, standing.reason = standing.reason, None
        return [self._resume(slot, held, cause, before)]

    def _note(self, standing: Standing, row: NDArray[np.int64], hold: Reason | None) -> None:
        if hold is standing.reason:
            return
        standing.reason = hold
        budget = None if hold is None else _BY_REASON.get(hold)
        if budget is not None:
            standing.limit_micros = int(row[budget.limit])
            standing.period_start_ms = self._period_start(budget, row)

    def _period_start(self, budget: Budget, row: NDArray[np.int64]) -> int:
        return 0 if budget.start < 0 else int(row[budget.start])

    def _pause(self, slot: int, reason: Reason, cause: Cause) -> Decision:
        standing, row = self.standing(slot), self._row(slot)
        budget = _BY_REASON.get(reason)
        inputs: dict[str, Any] = {"version": standing.version}
        key: list[str | int] = [standing.version]
        if budget is not None:
            start = self._period_start(budget, row)
            spent, limit = int(row[budget.spent]), int(row[budget.limit])
            inputs |= _numbers(budget.period, start, spent, limit)
            inputs |= _in_flight(spent, limit, row)
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
        inputs: dict[str, Any] = {"version": standing.version}
        key: list[str | int] = [standing.version]
        effective_ms = cause.ts_ms
        if budget is not None and held is not None:
            start = self._period_start(budget, row)
            spent = int(row[budget.spent]) if before is None else before[held]
            inputs |= _numbers(budget.period, start, spent, standing.limit_micros)
            inputs["overspend_micros"] = max(0, spent - standing.limit_micros)
            key += [budget.period, start]
            if start > standing.period_start_ms:
                reason, effective_ms = Reason.NEXT_PERIOD, start
            else:
                raised = row[budget.limit] > standing.limit_micros
                reason = Reason.BUDGET_RAISED if raised else Reason.IN_FLIGHT_SETTLED
                inputs["budget_micros"] = int(row[budget.limit])
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
        inputs: dict[str, Any],
    ) -> Decision:
        org_id, campaign_id = self._registry.campaigns.key(slot)
        before, after = ("active", "paused") if kind is Kind.PAUSE else ("paused", "active")
        undo = Kind.RESUME if kind is Kind.PAUSE else Kind.PAUSE
        return Decision(
            decision_id=decision_id(org_id, campaign_id, kind, reason, *key),
            org_id=org_id,
            campaign_id=campaign_id,
            kind=kind.value,
            reason=reason.value,
            ts_ms=cause.ts_ms,
            effective_ms=effective_ms,
            before={"state": before},
            after={"state": after},
            inputs=inputs,
            policy=POLICY,
            undo={"kind": undo.value, "after": {"state": before}},
            cause_event=cause.event,
        )

    def snapshot(self) -> list[StandingRow]:
        """One row a campaign: its records as they came, and why it is paused."""
        return [
            (
                slot,
                b"" if s.record is None else encode_control(s.record),
                b"" if s.override is None else encode_control(s.override),
                "" if s.reason is None else s.reason.value,
                s.limit_micros,
                s.period_start_ms,
                s.changes,
                s.budget_pause,
                s.repeats,
            )
            for slot, s in self.standings.items()
        ]

    def load(self, rows: list[StandingRow]) -> None:
        """Take the rows of a snapshot."""
        for slot, record, override, reason, limit_micros, period_start_ms, changes, budget_pause, repeats in rows:
            standing = Standing(
                limit_micros=limit_micros,
                period_start_ms=period_start_ms,
                changes=changes,
                budget_pause=budget_pause,
                repeats=repeats,
            )
            if record:
                standing.record = msgspec.convert(decode_control(record), CampaignRecord)
                standing.campaign = standing.record.definition()
            if override:
                standing.override = msgspec.convert(decode_control(override), OverrideRecord)
            standing.reason = Reason(reason) if reason else None
            self.standings[slot] = standing


def _in_flight(spent: int, limit: int, row: NDArray[np.int64]) -> dict[str, Any]:
    """The estimate that a pause came early by, and the overspend that it leaves if it is right."""
    reserve = int(row[at.RESERVE])
    if reserve == 0:
        return {}
    return {
        "in_flight_micros": reserve,
        "reporting_delay_ms": int(row[at.DELAY]),
        "overspend_bound_micros": max(0, spent + reserve - limit),
    }


def _numbers(period: str, start_ms: int, spent: int, limit: int) -> dict[str, Any]:
    return {
        "period": period,
        "period_start_ms": start_ms,
        "spend_micros": spent,
        "budget_micros": limit,
        "in_flight_micros": 0,
    }
