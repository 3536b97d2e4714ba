"""Replay of event files: read, put in order, sent at their pace."""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cli.replay_sender import LineError, RefusedError, Sender
from ingest.formats.mapping import FormatMapping
from ingest.replay.events import read_json_event, shifted, timed_events
from ingest.replay.ipinyou import IpinyouReader, read_region_names
from ingest.replay.lines import BadLine, RecordedFile
from ingest.replay.order import TimeOrder
from ingest.replay.pace import batched, paced, shift_to_now_ms
from ingest.replay.tables import TableFile, is_table

_File = RecordedFile | TableFile
# Bad and refused lines shown one by one; the rest is counted.
SHOWN_MAX: Final = 20


@dataclass(frozen=True)
class FilesReplay:
    """What to replay and how; `factor` is the speed, infinite for as fast as it goes."""

    files: list[Path]
    format: str
    factor: float
    shift_to_now: bool
    campaign_prefix: str
    regions: Path | None
    # How columns of tables are ours; None: by their names.
    columns: FormatMapping | None = None

    @property
    def is_verbatim(self) -> bool:
        """Whether lines go out as they are and in the order of the files."""
        return (
            self.format == "ndjson" and math.isinf(self.factor) and not self.shift_to_now and not self.campaign_prefix
        )


@dataclass
class Findings:
    """What was wrong with lines: the first are shown, all are counted."""

    console: Console
    bad_lines: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    # Rows that a mapping does not name.
    ignored: int = 0
    _shown: int = 0

    def bad(self, line: BadLine) -> None:
        """A line of a file that is no event."""
        self.bad_lines += 1
        self.reasons[line.reason] += 1
        self._show(f"{line.path}:{line.number}: {line.reason}")

    def refused(self, record: bytes, error: LineError) -> None:
        """An event that the collector refused."""
        start = record[:120].decode("utf-8", "replace")
        self._show(f"refused, {error.field} {error.reason}: {error.detail}: {start}")

    def say(self, text: str) -> None:
        """Show a line as it is."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _show(self, text: str) -> None:
        self._shown += 1
        if self._shown <= SHOWN_MAX:
            self.say(text)
        elif self._shown == SHOWN_MAX + 1:
            self.console.print("further lines are only counted")


def replay_files(wanted: FilesReplay, *, url: str, api_key: str, patience_s: float, as_json: bool) -> None:
    """Run the replay and print its summary; exit code 1 when nothing was accepted or the collector gave up."""
    console = Console(stderr=True)
    findings = Findings(console)
    began = time.monotonic()
    trouble: str | None = None
    with open_client(url, api_key) as client:
        sender = Sender(client, patience_s=patience_s, say=findings.say)
        try:
            with Progress(*_columns(), console=console, disable=not console.is_terminal) as progress:
                for batch in _batches(wanted, findings, progress):
                    for record, error in sender.send(batch):
                        findings.refused(record, error)
        except RefusedError as error:
            trouble = str(error)
        except OSError as error:
            trouble = f"{error.filename or 'a file'}: {error.strerror}"
        except KeyboardInterrupt:
            trouble = "stopped by hand"
    total = sender.total
    summary: dict[str, Any] = {
        "sent": total.sent,
        "accepted": total.accepted,
        "rejected": total.rejected,
        "bad_lines": findings.bad_lines,
        "ignored": findings.ignored,
        "retries": total.retries,
        "seconds": round(time.monotonic() - began, 3),
        "reasons": dict(findings.reasons + Counter(total.reasons)),
        "error": trouble,
    }
    show_summary(summary, as_json=as_json)
    if trouble is not None or (total.accepted == 0 and total.rejected + findings.bad_lines > 0):
        raise typer.Exit(1)


def open_client(url: str, api_key: str) -> httpx.Client:
    """The client for an api; environment proxies are not for a collector that is named by its address."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    return httpx.Client(base_url=url, headers=headers, timeout=30.0, trust_env=False)


def show_summary(summary: dict[str, Any], *, as_json: bool) -> None:
    """One line of JSON, or one for people; an error goes to stderr."""
    if as_json:
        print(json.dumps(summary))
        return
    reasons = summary.pop("reasons", {})
    error = summary.pop("error", None)
    print(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in summary.items() if value is not None))
    for reason, count in reasons.items():
        print(f"  {count} x {reason}")
    if error is not None:
        print(error, file=sys.stderr)


def _columns() -> tuple[Any, ...]:
    count = TextColumn("{task.fields[events]:,} events")
    return (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        count,
        TimeElapsedColumn(),
    )


def _batches(wanted: FilesReplay, findings: Findings, progress: Progress) -> Iterator[list[bytes]]:
    files = [_opened(path, wanted) for path in wanted.files]
    if wanted.is_verbatim:
        size_bytes = sum(file.size_bytes for file in files)
        batches = batched(_raw_records(files, findings))
        yield from _shown(batches, progress, size_bytes, lambda: sum(file.read_bytes for file in files))
        return
    with tempfile.TemporaryDirectory(prefix="penstock-replay-") as folder:
        order = TimeOrder(Path(folder))
        _take_all(order, files, wanted, findings, progress)
        if order.first_ms is None or order.last_ms is None:
            return
        shift_ms = 0
        if wanted.shift_to_now:
            now_ms = time.time_ns() // 1_000_000
            shift_ms = shift_to_now_ms(order.first_ms, order.last_ms, factor=wanted.factor, now_ms=now_ms)
        events = (shifted(event, shift_ms) for event in order.in_order())
        yield from _shown(paced(events, wanted.factor), progress, order.count, None)


def _shown(
    batches: Iterator[list[bytes]], progress: Progress, total: int, done: Callable[[], int] | None
) -> Iterator[list[bytes]]:
    """The batches, and the progress bar moved on: by `done`, else by the number of events."""
    task = progress.add_task("sending", total=total, events=0)
    sent = 0
    for batch in batches:
        yield batch
        sent += len(batch)
        progress.update(task, completed=sent if done is None else done(), events=sent)


def _take_all(
    order: TimeOrder, files: list[_File], wanted: FilesReplay, findings: Findings, progress: Progress
) -> None:
    """Read the files and sort their events by time."""
    read = _reader(wanted)
    task = progress.add_task("reading", total=sum(file.size_bytes for file in files), events=0)
    for file in files:
        events = timed_events(file.lines(), read, campaign_prefix=wanted.campaign_prefix, report=findings.bad)
        for event in events:
            order.take((event,))
            if order.count % 1_000 == 0:
                progress.update(task, completed=sum(file.read_bytes for file in files), events=order.count)
        findings.ignored += getattr(file, "ignored", 0)
    progress.update(task, completed=sum(file.size_bytes for file in files), events=order.count)


def _reader(wanted: FilesReplay) -> Callable[[bytes], dict[str, Any]]:
    if wanted.format == "ndjson":
        return read_json_event
    names = read_region_names(wanted.regions.read_text()) if wanted.regions is not None else None
    return IpinyouReader(regions=names).read


def _opened(path: Path, wanted: FilesReplay) -> _File:
    if wanted.format == "ndjson" and is_table(path):
        return TableFile(path, wanted.columns, now_ms=time.time_ns() // 1_000_000)
    return RecordedFile(path)


def _raw_records(files: list[_File], findings: Findings) -> Iterator[bytes]:
    for file in files:
        for line in file.lines():
            if isinstance(line, BadLine):
                findings.bad(line)
            else:
                yield line.content
        findings.ignored += getattr(file, "ignored", 0)
