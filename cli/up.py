"""`penstock up`: every process of Penstock on this machine, supervised."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from cli.address import api_url, refuse_open_door
from cli.openrtb import make_folder
from cli.settings import Settings
from cli.supervisor import GRACE_S, Child, Supervisor
from cli.watch import Watch
from storage.run_folder import run_folder

# The first start may still compile kernels and make tables.
READY_WITHIN_S: Final = 120.0
PROBE_TIMEOUT_S: Final = 2.0


def up(
    with_demo: Annotated[bool, typer.Option("--demo", help="Add the market simulator.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the market simulator.")] = 7,
) -> None:
    """Run everything on this machine until Ctrl-C; the next start goes on where this one stopped."""
    settings = Settings()
    try:
        make_folder(settings.data_dir)
    except ValueError as error:
        typer.echo(f"penstock up: {error}", err=True)
        raise typer.Exit(1) from None
    refuse_open_door(settings.host, has_keys=bool(settings.api_keys))
    with _only_one(settings.data_dir):
        refuse_taken_ports(settings)
        watch = Watch(run_folder(settings.data_dir), stuck_s=settings.stuck_seconds)
        watch.begin()
        supervisor = Supervisor(
            children(settings, demo_seed=seed if with_demo else None),
            log_dir=settings.data_dir / "logs",
            report=lambda line: typer.echo(f"penstock: {line}", err=True),
            watch=watch,
        )
        _run(supervisor, settings)


def children(settings: Settings, *, demo_seed: int | None) -> list[Child]:
    """The processes of one machine, in the order in which they start."""
    url = api_url(settings)
    rows: list[Child] = []
    if not settings.clickhouse:
        ping = f"http://127.0.0.1:{settings.clickhouse_port}/ping"
        rows.append(Child("clickhouse", ["clickhouse"], answers(ping)))
    rows.append(Child("api", ["api"], answers(f"{url}/healthz")))
    rows.extend(_plain(name, [name]) for name in ("flow", "store", "actuate"))
    if demo_seed is not None:
        demo = _plain("demo", ["demo", "--seed", str(demo_seed)])
        demo.waits = True
        rows.append(demo)
    return rows


def refuse_taken_ports(settings: Settings) -> None:
    """Exit when another program has a port of ours: its answers would pass for those of our own processes."""
    wanted = {"PENSTOCK_PORT": (settings.host, settings.port)}
    if not settings.clickhouse:
        wanted["PENSTOCK_CLICKHOUSE_PORT"] = ("127.0.0.1", settings.clickhouse_port)
    deadline = time.monotonic() + GRACE_S
    for name, (host, port) in wanted.items():
        while (trouble := _trouble_with(host, port)) is not None:
            # What a killed `penstock up` left behind is still on its way out.
            if trouble.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                reason = os.strerror(trouble.errno or 0)
                typer.echo(f"penstock up: {host}:{port} cannot be had: {reason}. Set {name}.", err=True)
                raise typer.Exit(1)
            time.sleep(0.1)


def _trouble_with(host: str, port: int) -> OSError | None:
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return None
    except OSError as error:
        return error


def answers(url: str) -> Callable[[], bool]:
    """A probe: does the address answer 200?"""

    def probe() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=PROBE_TIMEOUT_S) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return probe


def _plain(name: str, argv: list[str]) -> Child:
    child = Child(name, argv, lambda: False)
    child.ready = child.alive
    return child


def _run(supervisor: Supervisor, settings: Settings) -> None:
    from rich.console import Console

    console = Console(stderr=True)
    stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: stop.append(received))
    began = time.monotonic()
    try:
        with console.status("starting"):
            ready = supervisor.start(ready_within_s=READY_WITHIN_S, stopped=lambda: bool(stop))
        if not stop:
            took_s = time.monotonic() - began
            troubles = {} if ready else supervisor.troubles()
            names = " and ".join(troubles)
            but = f", but {names} {'does' if len(troubles) == 1 else 'do'} not" if troubles else ""
            typer.echo(f"\n  Penstock runs{but} ({took_s:.1f} s). Open  {api_url(settings)}/\n")
            for name, reason in troubles.items():
                typer.echo(f"  {name}: {reason}")
            typer.echo(f"  logs in {settings.data_dir / 'logs'}; Ctrl-C stops it, the next start goes on from here.\n")
            sys.stdout.flush()
        while not stop:
            supervisor.watch()
            time.sleep(0.2)
    finally:
        with console.status("stopping"):
            supervisor.stop()
        console.print("penstock: stopped", highlight=False)


class _only_one:  # noqa: N801
    """A lock on the data folder; a second `penstock up` on it would fight over every file."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "up.lock"

    def __enter__(self) -> None:
        import fcntl

        self._file = self._path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            typer.echo(
                f"penstock up already runs on {self._path.parent} (process {self._file.read().strip()}).", err=True
            )
            raise typer.Exit(1) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def __exit__(self, *_: object) -> None:
        self._file.close()
