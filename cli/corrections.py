"""`penstock corrections`: what was corrected, and a platform's invoice brought in."""

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cli.control import Console
    from control.corrections.judge import Answer
    from storage.correction_queries import CorrectionReader

app = typer.Typer(help="Corrections of what was counted: platforms' invoices, refunds, notes.", no_args_is_help=True)

_Org = Annotated[str, typer.Option(help="Organisation.")]
_COLUMNS: Final = (
    "applied", "campaign_id", "at", "grain", "cause", "impressions", "clicks", "conversions", "leads", "spend",
    "revenue", "by", "noted", "note", "effect", "correction_id",
)  # fmt: skip
# Those that people wrote, or senders of events.
_TEXTS: Final = ("campaign_id", "by", "note")
_LISTED_MAX: Final = 100_000
_PAGE: Final = 1_000


@app.command("list")
def list_corrections(
    campaign: Annotated[str, typer.Option(help="Only this campaign.")] = "",
    org: _Org = "default",
    limit: Annotated[int, typer.Option(min=1, max=_LISTED_MAX, help="The newest so many.")] = 50,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV, for a spreadsheet.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Corrections as they were applied, the newest first."""
    rows: list[Mapping[str, Any]] = []
    with _reader() as reader:
        before = (2**60, "")
        while len(rows) < limit:
            page = reader.corrections(org, campaign, "", before, min(_PAGE, limit - len(rows)))
            rows += page
            if len(page) < _PAGE:
                break
            before = page[-1]["applied_ms"], page[-1]["correction_id"]
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
    else:
        _print(rows, as_csv)


@app.command("import")
def import_corrections(
    file: Annotated[Path, typer.Argument(help="CSV with a head line; docs/corrections.md names the columns.")],
    org: _Org = "default",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would become of each line, send nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only lines that are refused, and the sums.")] = False,
) -> None:
    """Bring corrections in from a file: every line gets an answer, and the same file again changes nothing.

    Exit 0 when every line was sent, known or right already; 1 when some were refused, 2 when the file cannot be read,
    3 when the log or ClickHouse is away: then nothing is lost by doing it again.
    """
    from clickhouse_connect.driver.exceptions import ClickHouseError

    from cli.control import console
    from control.corrections.csv_file import BadLine, CsvError, read_csv
    from control.corrections.send import send
    from schemas.log import LogUnavailableError
    from storage.words import in_words

    try:
        lines = list(read_csv(_content(file)))
    except (CsvError, OSError) as error:
        typer.echo(f"penstock: {file}: {error}", err=True)
        raise typer.Exit(2) from None
    bad = [line for line in lines if isinstance(line, BadLine)]
    with console() as at:
        try:
            with _reader() as reader:
                answers = _judged(at, reader, org, [line for line in lines if not isinstance(line, BadLine)])
            if not dry_run:
                send(at.log, [answer.correction for answer in answers if answer.correction is not None])
        except (ClickHouseError, LogUnavailableError) as error:
            typer.echo(f"penstock: {in_words(error)}; run it again, what was sent is known then", err=True)
            raise typer.Exit(3) from None
    refused = _tell(answers, bad, dry_run=dry_run, quiet=quiet)
    raise typer.Exit(1 if refused else 0)


def _judged(at: Console, reader: CorrectionReader, org: str, lines: Sequence[Any]) -> list[Answer]:
    from control.corrections.judge import Judge
    from control.errors import UnknownCampaignError
    from schemas.campaigns import Campaign

    def definition(campaign_id: str) -> Campaign | None:
        try:
            return at.store.campaign(org, campaign_id).definition
        except UnknownCampaignError:
            return None

    return Judge(org, by=at.user, now_ms=at.now_ms(), definition=definition, books=reader).answers(lines)


def _tell(answers: Sequence[Answer], bad: Sequence[Any], *, dry_run: bool, quiet: bool) -> int:
    """Print the answers by line, and their sums; returns how many were refused."""
    from control.corrections.csv_file import safe_cell
    from control.corrections.judge import Outcome

    told = [(answer.line, answer.outcome.value, answer.reference, answer.detail) for answer in answers]
    told += [(line.line, Outcome.REFUSED.value, line.reference, line.detail) for line in bad]
    counts = {outcome.value: 0 for outcome in Outcome}
    for line, outcome, reference, detail in sorted(told):
        counts[outcome] += 1
        if not quiet or outcome == Outcome.REFUSED:
            said = "would be sent" if dry_run and outcome == Outcome.SENT else outcome
            typer.echo(f"line {line}\t{said}\t{safe_cell(reference)}\t{safe_cell(detail)}")
    if dry_run:
        counts = {"would be sent" if name == Outcome.SENT else name: count for name, count in counts.items()}
    typer.echo(", ".join(f"{count:,} {name}" for name, count in counts.items()))
    return counts[Outcome.REFUSED.value]


def _content(file: Path) -> bytes:
    from control.corrections.csv_file import FILE_BYTES_MAX

    if str(file) == "-":
        return sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
    with file.open("rb") as opened:
        return opened.read(FILE_BYTES_MAX + 1)


def _reader() -> Any:
    from contextlib import contextmanager

    from clickhouse_connect.driver.exceptions import ClickHouseError

    from cli.settings import Settings
    from cli.wiring import clickhouse_url
    from storage.correction_queries import CorrectionReader
    from storage.words import in_words

    @contextmanager
    def opened() -> Any:
        try:
            yield CorrectionReader(clickhouse_url(Settings()), timeout_s=60.0)
        except ClickHouseError as error:
            typer.echo(f"penstock: ClickHouse: {in_words(error)}. Is Penstock up?", err=True)
            raise typer.Exit(3) from None

    return opened()


def _print(rows: Sequence[Mapping[str, Any]], as_csv: bool) -> None:
    from control.corrections.csv_file import safe_cell

    shown = [
        {name: safe_cell(value) if name in _TEXTS else value for name, value in _shown(row).items()} for row in rows
    ]
    if not as_csv:
        for row in shown:
            typer.echo("\t".join(str(row[name]) for name in _COLUMNS))
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(shown)
    typer.echo(text.getvalue(), nl=False)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    from control.corrections.judge import units

    effect = "refused" if row["refused"] else "recounted" if row["late"] else "applied"
    return {
        "applied": _moment(row["applied_ms"]),
        "at": _moment(row["ts_ms"]),
        "noted": _moment(row["noted_ms"]),
        "spend": units(row["spend_micros"]),
        "revenue": units(row["revenue_micros"]),
        "effect": effect,
        **{name: row[name] for name in ("campaign_id", "grain", "cause", "by", "note", "correction_id")},
        **{name: row[name] for name in ("impressions", "clicks", "conversions", "leads")},
    }


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if ms else ""
