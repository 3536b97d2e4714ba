"""What the commands on campaigns and dead letters share: the control store and the log of the settings, and a name."""

from __future__ import annotations

import getpass
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from control.store import ControlStore
    from schemas.log import Log


@dataclass(frozen=True, slots=True)
class Console:
    """An open control store and log, and who is at the keyboard."""

    store: ControlStore
    log: Log
    user: str

    def now_ms(self) -> int:
        """The clock."""
        return time.time_ns() // 1_000_000

    def publish(self) -> None:
        """Tell the dataflow of what was changed; what cannot be told now is told by the api later."""
        from schemas.log import LogUnavailableError

        try:
            self.store.publish_outbox(self.log)
        except LogUnavailableError as error:
            typer.echo(f"penstock: stored, and published when the log is back: {error}", err=True)


@contextmanager
def console() -> Iterator[Console]:
    """Open what the settings name; errors that a person can mend are printed in one line, and exit 1."""
    from sqlalchemy.exc import SQLAlchemyError

    from cli.settings import Settings
    from cli.wiring import open_log
    from control.errors import ControlError
    from control.restore import restore
    from control.store import ControlStore
    from ingest.dead_letter_replay import CorrectionError
    from schemas.log import LogUnavailableError

    settings = Settings()
    try:
        store = ControlStore.open(settings.database, settings.data_dir)
        try:
            log = open_log(settings)
        except ValueError as error:
            raise _failed(str(error)) from error
        try:
            restore(store.engine, log)
            yield Console(store, log, f"cli:{getpass.getuser()}")
        finally:
            log.close()
            store.close()
    except (ControlError, CorrectionError, LogUnavailableError) as error:
        raise _failed(str(error)) from error
    except SQLAlchemyError as error:
        raise _failed(f"the control database failed: {type(error).__name__}") from error


def _failed(message: str) -> typer.Exit:
    typer.echo(f"penstock: {message}", err=True)
    return typer.Exit(1)
