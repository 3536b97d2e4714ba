"""`penstock campaign`: campaign definitions and people's overrides, with or without a running api."""

from __future__ import annotations

import json
import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from control.store import Action
    from schemas.campaigns import Campaign
    from schemas.log import Chunk, Log

app = typer.Typer(help="Campaign definitions, budgets, pauses; every change can be undone.", no_args_is_help=True)

_Id = Annotated[str, typer.Argument(help="Id of the campaign.")]
_Org = Annotated[str, typer.Option(help="Organisation.")]
_Note = Annotated[str, typer.Option(help="Why; shown in the history.")]
_Budget = Annotated[str | None, typer.Option(help="In whole units of its currency, such as 250.50; none: no limit.")]
_MICROS: Final = 1_000_000


@app.command("put")
def put(
    file: Annotated[Path, typer.Argument(help="One definition or an array of them, as JSON; - reads standard input.")],
) -> None:
    """Set campaigns to the definitions in a file; unchanged ones keep their version. Prints id and version."""
    from cli.control import console

    definitions = _read(file)
    with console() as at:
        for definition in definitions:
            version = at.store.put_campaign(definition, changed_by=at.user, now_ms=at.now_ms())
            typer.echo(f"{definition.campaign_id}\t{version}")
        at.publish()


@app.command("list")
def list_campaigns(
    org: _Org = "default",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    archived: Annotated[bool, typer.Option(help="Also those that were put away.")] = False,
) -> None:
    """Definitions in force, with their version, and why a campaign is paused now."""
    from cli.control import console

    with console() as at:
        pauses = _pauses(at.log, org)
        after = ""
        while page := at.store.campaigns(org, after=after, archived=archived):
            for stored in page:
                definition = stored.definition
                paused = pauses.get(definition.campaign_id)
                if as_json:
                    campaign = definition.model_dump(mode="json")
                    typer.echo(json.dumps({"version": stored.version, "campaign": campaign, "paused_by": paused}))
                    continue
                state = definition.status if paused is None else f"{definition.status}, paused: {paused}"
                typer.echo(f"{definition.campaign_id}\t{stored.version}\t{state}\t{_budgets(definition)}")
            after = page[-1].definition.campaign_id


def _pauses(log: Log, org_id: str) -> dict[str, str]:
    """Reason codes of the pauses in force, by campaign, from what the log says up to now."""
    from api.serving import MemoryServing
    from schemas import topics

    states = MemoryServing()
    for topic, take in ((topics.SERVING, states.take), (topics.CONTROL, states.take_control)):
        for chunk in _chunks(log, topic):
            take(chunk)
    return {state.campaign_id: state.pause_reason for state in states.of_organisation(org_id) if state.pause_reason}


def _chunks(log: Log, topic: str) -> Iterator[Chunk]:
    """What a topic holds now."""
    offset, end = log.begin(topic, 0), log.end(topic, 0)
    while offset < end and (chunk := log.read(topic, 0, offset, 4 * 2**20, timeout_s=10.0)) is not None:
        yield chunk
        offset = chunk.next_offset


@app.command("show")
def show(campaign_id: _Id, org: _Org = "default") -> None:
    """One definition with its history and overrides, as JSON."""
    from dataclasses import asdict

    from cli.control import console

    with console() as at:
        stored = at.store.campaign(org, campaign_id)
        changes = at.store.changes(org, campaign_id)
        told = {
            "campaign": stored.definition.model_dump(mode="json"),
            "version": stored.version,
            "changes": [
                {"version": c.version, "by": c.changed_by, "at_ms": c.changed_ms, "fields": _changed_fields(c)}
                for c in changes
            ],
            "overrides": [asdict(override) for override in at.store.overrides(org, campaign_id)],
        }
        typer.echo(json.dumps(told, indent=2))


@app.command("pause")
def pause(campaign_id: _Id, note: _Note = "", org: _Org = "default") -> None:
    """Pause by hand: automation does not resume it until `resume` or `lift`."""
    from control.store import Action

    _override(org, campaign_id, Action.PAUSE, note)


@app.command("resume")
def resume(campaign_id: _Id, note: _Note = "", org: _Org = "default") -> None:
    """End a pause by hand."""
    from control.store import Action

    _override(org, campaign_id, Action.RESUME, note)


@app.command("archive")
def archive(campaign_id: _Id, org: _Org = "default") -> None:
    """Put a campaign away: nothing bids for it any more, its history stays; `undo` takes it out again."""
    from cli.control import console

    with console() as at:
        version = at.store.archive_campaign(org, campaign_id, changed_by=at.user, now_ms=at.now_ms())
        typer.echo(f"{campaign_id}\t{version}\tarchived")
        at.publish()


@app.command("lift")
def lift(campaign_id: _Id, note: _Note = "", org: _Org = "default") -> None:
    """End every override by hand: automation decides again."""
    from control.store import Action

    _override(org, campaign_id, Action.LIFT, note)


@app.command("bid")
def bid(campaign_id: _Id, micros: Annotated[int, typer.Argument(help="CPM bid in micros.")], note: _Note = "",
        org: _Org = "default") -> None:  # fmt: skip
    """Set the bid by hand: automation keeps it until `lift`."""
    from control.store import Action

    _override(org, campaign_id, Action.SET_BID, note, bid_micros=micros)


@app.command("budget")
def budget(
    campaign_id: _Id, daily: _Budget = None, weekly: _Budget = None, total: _Budget = None, org: _Org = "default"
) -> None:
    """Change budgets; a raised budget resumes at once."""
    from cli.control import console

    named = {"daily_budget_micros": daily, "weekly_budget_micros": weekly, "total_budget_micros": total}
    changes = {field: _micros(units) for field, units in named.items() if units is not None}
    if not changes:
        raise typer.BadParameter("name at least one of --daily, --weekly, --total")
    with console() as at:
        stored = at.store.campaign(org, campaign_id)
        definition = _checked(stored.definition.model_dump() | changes)
        version = at.store.put_campaign(
            definition, changed_by=at.user, now_ms=at.now_ms(), expected_version=stored.version
        )
        typer.echo(f"{campaign_id}\t{version}\t{_budgets(definition)}")
        at.publish()


@app.command("undo")
def undo(
    campaign_id: _Id,
    to: Annotated[int | None, typer.Option(help="Version to go back to; else the one before.")] = None,
    org: _Org = "default",
) -> None:
    """Put a former definition back, as a new version."""
    from cli.control import console
    from control.errors import UnknownVersionError

    with console() as at:
        current = at.store.campaign(org, campaign_id).version
        version = current - 1 if to is None else to
        if version < 1:
            raise UnknownVersionError(campaign_id, version)
        new = at.store.revert_campaign(org, campaign_id, version, changed_by=at.user, now_ms=at.now_ms())
        typer.echo(f"{campaign_id}\t{new}\t(the definition of version {version})")
        at.publish()


def _override(org: str, campaign_id: str, action: Action, note: str, bid_micros: int | None = None) -> None:
    from cli.control import console

    with console() as at:
        version = at.store.override(
            org, campaign_id, action, changed_by=at.user, now_ms=at.now_ms(), bid_micros=bid_micros, note=note
        )
        typer.echo(f"{campaign_id}\t{action.value}\toverride {version}")
        at.publish()


def _read(file: Path) -> list[Campaign]:
    """The definitions in a file, all checked before the first is stored."""
    try:
        given = json.loads(sys.stdin.read() if str(file) == "-" else file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{file}: {error}") from None
    return [_checked(each) for each in (given if isinstance(given, list) else [given])]


def _checked(given: Any) -> Campaign:
    from pydantic import ValidationError

    from schemas.campaigns import Campaign

    try:
        return Campaign.model_validate(given)
    except ValidationError as error:
        name = given.get("campaign_id", given.get("id", "?")) if isinstance(given, dict) else "?"
        wrong = [f"{'.'.join(map(str, each['loc'])) or 'definition'}: {each['msg']}" for each in error.errors()]
        raise typer.BadParameter(f"campaign {name}: {'; '.join(wrong)}") from None


def _micros(units: str) -> int | None:
    """Micros of a budget in whole units; None for "none".

    >>> _micros("250.50"), _micros("none")
    (250500000, None)
    """
    if units.lower() == "none":
        return None
    try:
        micros = Decimal(units) * _MICROS
        whole = int(micros)
    except (InvalidOperation, ValueError, OverflowError):
        raise typer.BadParameter(f"{units!r} is not an amount such as 250.50") from None
    if whole != micros:
        raise typer.BadParameter(f"{units} has more than six decimals")
    return whole


def _budgets(definition: Campaign) -> str:
    limits = {
        "daily": definition.daily_budget_micros,
        "weekly": definition.weekly_budget_micros,
        "total": definition.total_budget_micros,
    }
    told = [f"{name} {Decimal(micros) / _MICROS:f}" for name, micros in limits.items() if micros is not None]
    return f"{', '.join(told)} {definition.currency}" if told else "no budget"


def _changed_fields(change: Any) -> dict[str, list[Any]]:
    """Fields that differ: before and after."""
    before = change.before.model_dump(mode="json") if change.before is not None else {}
    after = change.after.model_dump(mode="json")
    return {name: [before.get(name), value] for name, value in after.items() if before.get(name) != value}
