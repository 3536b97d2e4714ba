"""A decision in words, for the person who answers for the money."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from schemas.decisions import Decision, Kind, Reason, named

_KINDS: Final = {
    Kind.PAUSE: "Paused",
    Kind.RESUME: "Resumed",
    Kind.SET_BID: "Changed the bid",
    Kind.SET_BUDGET: "Changed the budget",
    Kind.SET_PACING: "Changed the pacing rate",
    Kind.SET_BID_MODIFIERS: "Changed bid modifiers",
    Kind.HALT: "Stopped automation",
    Kind.PROCEED: "Started automation again",
}
_REASONS: Final = {
    Reason.DAILY_BUDGET_REACHED: "the daily budget is spent",
    Reason.WEEKLY_BUDGET_REACHED: "the weekly budget is spent",
    Reason.TOTAL_BUDGET_REACHED: "the total budget is spent",
    Reason.NEXT_PERIOD: "a new budget period began",
    Reason.BUDGET_RAISED: "the budget was raised",
    Reason.IN_FLIGHT_SETTLED: "spend that was under way has come in, and the budget has room",
    Reason.SPEND_CORRECTED: "spend was taken back, and the budget has room",
    Reason.NOT_STARTED: "the campaign has not started yet",
    Reason.ENDED: "the campaign's end has come",
    Reason.STARTED: "the campaign's start has come",
    Reason.DAY_PART: "the hour lies outside the campaign's day parts",
    Reason.PAUSED_BY_PERSON: "a person paused it",
    Reason.RESUMED_BY_PERSON: "a person resumed it",
    Reason.PACING_BEHIND: "spend runs behind the plan for the traffic still to come",
    Reason.PACING_AHEAD: "spend runs ahead of the plan for the traffic still to come",
    Reason.GOAL_BETTER: "results are better than the goal, so there is room to bid more",
    Reason.GOAL_WORSE: "results are worse than the goal",
    Reason.LEARNING: "the campaign is still learning",
    Reason.EXPLORATION: "another bid is being tried, within the exploration share",
    Reason.WIN_RATE: "the win rate at this bid left its range",
    Reason.SEGMENT_RESPONSE: "segments respond differently from the campaign's mean",
    Reason.REALLOCATION: "the money is expected to bring more there",
    Reason.MANUAL_OVERRIDE: "a person set it",
    Reason.UNDO: "an earlier decision was undone",
    Reason.OUTCOME_OUT_OF_BAND: "outcomes left the expected band further than chance explains",
    Reason.OUTCOME_BACK_IN_BAND: "outcomes are back in the expected band",
}
# Below this, milliseconds are a duration: no campaign ran in the year 2000.
_MOMENT_MIN_MS: Final = 946_684_800_000
_MODES: Final = {"auto": "", "recommend": " It waits for a person's approval.", "dry_run": " It was only recorded."}


def explain(decision: Decision) -> str:
    """Some lines of plain text: what changed, why, from which numbers, what to expect, how to undo it."""
    kind, reason = Kind(decision.kind), Reason(decision.reason)
    standing = kind in (Kind.PAUSE, Kind.RESUME, Kind.HALT, Kind.PROCEED)
    whose = f", campaign {decision.campaign_id}" if standing else f" of campaign {decision.campaign_id}"
    lines = [f"{_KINDS[kind]}{whose}: {_REASONS[reason]}.{_MODES.get(decision.mode, '')}"]
    before = named(decision.before)
    lines += [
        f"  {name}: {_shown(name, before.get(name))} -> {_shown(name, after)}"
        for name, after in named(decision.after).items()
    ]
    lines.append(f"  decided for {_moment(decision.ts_ms)}, in effect from {_moment(decision.effective_ms)}")
    numbers = [f"{name} {_shown(name, value)}" for name, value in named(decision.inputs).items() if value is not None]
    if numbers:
        lines.append("  from: " + ", ".join(numbers))
    lines += [
        f"  expected {e.measure}: {_shown(e.measure, e.expected)}"
        f" (90% between {_shown(e.measure, e.low)} and {_shown(e.measure, e.high)})"
        for e in decision.expected
    ]
    if decision.cause_event is not None:
        what = "" if decision.cause_event.startswith("corrections/") else "event "
        lines.append(f"  tipped by {what}{decision.cause_event}")
    if decision.undo is not None:
        undo = named(decision.undo)
        back = ", ".join(f"{name} {_shown(name, value)}" for name, value in undo.get("after", {}).items())
        lines.append(f"  to undo: {undo.get('kind')}" + (f" with {back}" if back else ""))
    lines.append(f"  policy {decision.policy}, decision {decision.decision_id}")
    return "\n".join(lines)


def _moment(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms / 1_000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _shown(name: str, value: Any) -> str:
    """Money of fields named `..._micros` in units of the currency, moments as such, other numbers in few digits."""
    if value is None:
        return "nothing"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if name.endswith("_micros"):
        return f"{value / 1_000_000:,.2f}"
    if name.endswith("_ms") and isinstance(value, int) and value >= _MOMENT_MIN_MS:
        return _moment(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
