"""`penstock dlq`: dead letters, what is wrong with them, and back into the log once they are right."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cli.control import Console
    from schemas.dead_letters import DeadLetter

app = typer.Typer(help="Dead letters: list, show, correct and replay what was refused.", no_args_is_help=True)

_Letter = Annotated[str, typer.Argument(help="Id of the letter, or as much of its beginning as is unique.")]


@app.command("list")
def list_letters(
    reason: Annotated[str | None, typer.Option(help="Only this reason code.")] = None,
    org: Annotated[str | None, typer.Option(help="Only this organisation.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Settled ones as well.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """What was refused and not settled yet, oldest first."""
    from collections import deque

    from cli.control import console
    from control.letters import settled
    from ingest.dead_letter_replay import read_letters

    with console() as at:
        how = settled(at.store.engine)
        newest: deque[DeadLetter] = deque(maxlen=limit)
        for letter in read_letters(at.log):
            if (everything or letter.dead_letter_id not in how) and _is_wanted(letter, reason, org):
                newest.append(letter)
        for letter in newest:
            typer.echo(_line(letter, how.get(letter.dead_letter_id), as_json))


@app.command("show")
def show(letter_id: _Letter) -> None:
    """One letter with its raw record."""
    import msgspec

    from cli.control import console
    from control.letters import settled
    from ingest.dead_letter_replay import find_letter, read_letters

    with console() as at:
        letter = find_letter(list(read_letters(at.log)), letter_id)
        how = settled(at.store.engine).get(letter.dead_letter_id)
        typer.echo(json.dumps(msgspec.structs.asdict(letter) | {"settled": how}, indent=2))


@app.command("fix")
def fix(
    letter_id: _Letter,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="field=value, the value as JSON or else as text; repeat it.")
    ] = None,
    unset: Annotated[list[str] | None, typer.Option(help="Field to take away; repeat it.")] = None,
    file: Annotated[Path | None, typer.Option(help="The whole event, as JSON.", exists=True)] = None,
) -> None:
    """Correct a letter and send it again; it is settled once the event is in the log."""
    from cli.control import console
    from ingest.dead_letter_replay import corrected, find_letter, read_letters

    if (file is None) == (not assignments and not unset):
        raise typer.BadParameter("give --set and --unset, or --file")
    changes: dict[str, Any] = dict.fromkeys(unset or []) | dict(map(_assignment, assignments or []))
    with console() as at:
        letter = find_letter(list(read_letters(at.log)), letter_id)
        raw = file.read_bytes() if file is not None else corrected(letter, changes)
        _send(at, letter, raw, "fixed")


@app.command("replay")
def replay(
    letter_ids: Annotated[list[str] | None, typer.Argument(help="Ids of letters, or their beginnings.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every letter that is not settled.")] = False,
    reason: Annotated[str | None, typer.Option(help="With --all: only this reason code.")] = None,
) -> None:
    """Send letters again as they are, once what refused them was put right."""
    from cli.control import console
    from control.letters import settled
    from ingest.dead_letter_replay import CorrectionError, find_letter, raw_of, read_letters

    if everything == bool(letter_ids):
        raise typer.BadParameter("name letters, or give --all")
    failed = 0
    with console() as at:
        letters = list(read_letters(at.log))
        how = settled(at.store.engine)
        chosen = [find_letter(letters, each) for each in letter_ids or []] or [
            each for each in letters if each.dead_letter_id not in how and _is_wanted(each, reason, None)
        ]
        for letter in chosen:
            try:
                _send(at, letter, raw_of(letter), "replayed")
            except (CorrectionError, typer.Exit) as error:
                failed += 1
                if isinstance(error, CorrectionError):
                    typer.echo(str(error), err=True)
    typer.echo(f"{len(chosen) - failed} replayed, {failed} still refused")
    if failed:
        raise typer.Exit(1)


@app.command("drop")
def drop(letter_ids: Annotated[list[str], typer.Argument(help="Ids of letters, or their beginnings.")]) -> None:
    """Settle letters without sending them again."""
    from cli.control import console
    from control.letters import settle
    from ingest.dead_letter_replay import find_letter, read_letters

    with console() as at:
        letters = list(read_letters(at.log))
        ids = [find_letter(letters, each).dead_letter_id for each in letter_ids]
        settle(at.store.engine, ids, "dropped", settled_by=at.user, now_ms=at.now_ms())


def _send(at: Console, letter: DeadLetter, raw: bytes, how: Any) -> None:
    """Send an event again and settle its letter; exits 1 when it is refused again."""
    from control.letters import settle
    from ingest.dead_letter_replay import readmit

    admitted = readmit(at.log, letter, raw, now_ms=at.now_ms())
    for refused in admitted.refused:
        again = refused.letter
        typer.echo(f"{letter.dead_letter_id}: {again.reason} {again.field} {again.detail}", err=True)
    if admitted.refused or not admitted.accepted:
        raise typer.Exit(1)
    # A crash before this line sends the event once more later; its id then marks it as a duplicate.
    settle(at.store.engine, [letter.dead_letter_id], how, settled_by=at.user, now_ms=at.now_ms())
    typer.echo(f"{letter.dead_letter_id}\t{how}")


def _is_wanted(letter: DeadLetter, reason: str | None, org: str | None) -> bool:
    return (reason is None or letter.reason == reason) and (org is None or letter.org_id == org)


def _line(letter: DeadLetter, how: str | None, as_json: bool) -> str:
    import msgspec

    if as_json:
        return json.dumps(msgspec.structs.asdict(letter) | {"settled": how})
    at = datetime.fromtimestamp(letter.ts_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    state = f"[{how}] " if how is not None else ""
    return f"{letter.dead_letter_id[:12]}  {at}  {letter.reason:<18} {letter.field:<14} {state}{letter.detail[:60]}"


def _assignment(text: str) -> tuple[str, Any]:
    """Field and value of `field=value`.

    >>> _assignment("cost_micros=1200"), _assignment("type=click")
    (('cost_micros', 1200), ('type', 'click'))
    """
    field, equals, value = text.partition("=")
    if not (field and equals):
        raise typer.BadParameter(f"{text!r} is not field=value")
    try:
        return field, json.loads(value)
    except ValueError:
        return field, value
