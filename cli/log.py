"""`penstock log`: look for damage in the embedded log, set it aside, print records."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cli.settings import Settings
from cli.wiring import open_log
from schemas import topics

if TYPE_CHECKING:
    from ingest.local_log import LocalLog
    from ingest.local_log.check import Damage

app = typer.Typer(help=str(__doc__), no_args_is_help=True)
_READ_BYTES = 1 << 20


@app.command("check")
def check(as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a damage.")] = False) -> None:
    """Read the whole log and list what is damaged; exit 1 when something is. Everything may run meanwhile."""
    checked = unchecked = damaged = 0
    with _opened() as log:
        for topic, partition, found in log.check():
            checked += found.line_bytes
            unchecked += found.unchecked_bytes
            damaged += len(found.damages)
            for damage in found.damages:
                if as_json:
                    print(json.dumps({"topic": topic, "partition": partition, **damage._asdict()}))
                else:
                    print(_told(topic, partition, damage))
    if not as_json:
        print(f"{checked} bytes of lines checked, {damaged} damaged places")
        if unchecked:
            print(f"{unchecked} bytes are of format 1, without checksums, until they are compressed or dropped")
    if damaged:
        typer.echo("bring the files back from a backup, or run `penstock log repair`", err=True)
        raise typer.Exit(1)


@app.command("repair")
def repair() -> None:
    """Set damaged bytes aside (folder log/.quarantine); readers go on behind them and count what was lost."""
    count = 0
    with _opened() as log:
        for topic, partition, damage in log.repair():
            count += 1
            print(_told(topic, partition, damage))
        print(f"{count} damaged places set aside" + (f" in {log.root / '.quarantine'}" if count else ""))


@app.command("cat")
def cat(
    topic: Annotated[str, typer.Argument(help="A topic.")],
    partition: Annotated[int, typer.Option(min=0, help="Its partition.")] = 0,
    offset: Annotated[int | None, typer.Option(min=0, help="Where to begin; none: at the first record.")] = None,
    records: Annotated[int | None, typer.Option(min=1, help="How many at most.")] = None,
) -> None:
    """Print the records of a partition, one a line, up to its present end."""
    from schemas.log import OffsetGoneError

    if topic not in topics.ALL:
        raise typer.BadParameter(f"{topic} is no topic; there are {', '.join(topics.ALL)}")
    with _opened() as log:
        at = log.begin(topic, partition) if offset is None else offset
        end, left = log.end(topic, partition), records
        while at < end and left != 0:
            try:
                chunk = log.read(topic, partition, at, _READ_BYTES)
            except OffsetGoneError as gone:
                if gone.begin <= at:
                    raise ValueError(str(gone)) from None
                at = gone.begin
                continue
            if chunk is None:
                return
            lines = chunk.records()[:left]
            sys.stdout.buffer.write(b"\n".join(lines) + b"\n")
            left = None if left is None else left - len(lines)
            at = chunk.next_offset


def _told(topic: str, partition: int, damage: Damage) -> str:
    lost = f"{damage.end - damage.offset} bytes of lines" if damage.records is None else f"{damage.records} records"
    place = f"{damage.path}, {damage.size_bytes} bytes from byte {damage.position} on"
    return f"{topic}/{partition}: offsets {damage.offset} to {damage.end} ({lost}) are damaged, {place}"


@contextmanager
def _opened() -> Iterator[LocalLog]:
    """The local log; its errors as one line and exit code 1."""
    from ingest.local_log import LocalLog
    from schemas.log import LogUnavailableError

    try:
        log = open_log(Settings())
        if not isinstance(log, LocalLog):
            raise typer.BadParameter("PENSTOCK_KAFKA is set, and Kafka checks its records itself")
        try:
            yield log
        finally:
            log.close()
    except (LogUnavailableError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
