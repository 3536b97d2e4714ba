"""`penstock backup TO` and `penstock restore FROM`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.settings import Settings


def backup(to: Annotated[Path, typer.Argument(file_okay=False, help="A new or empty folder.")]) -> None:
    """Copy everything embedded while it runs: log, snapshots, tables, control plane, secrets; with checksums."""
    from cli.backup.make import back_up
    from cli.backup.manifest import BackupError
    from cli.wiring import open_log
    from schemas.log import LogUnavailableError
    from storage.words import in_words

    settings = Settings()
    try:
        if not settings.data_dir.is_dir():
            raise BackupError(f"{settings.data_dir} is not there: set PENSTOCK_DATA_DIR to what is to be backed up")
        log = open_log(settings)
        try:
            manifest = back_up(settings, log, to.absolute(), typer.echo)
        finally:
            log.close()
    except (BackupError, LogUnavailableError, ValueError) as error:
        _refuse("backup", str(error))
    except Exception as error:
        _refuse("backup", in_words(error))
    size = sum(file.size_bytes for file in manifest.files.values())
    typer.echo(f"{len(manifest.files)} files, {size} bytes in {to}")
    for line in manifest.left_out:
        typer.echo(f"not in it: {line}")


def restore(
    source: Annotated[Path, typer.Argument(metavar="FROM", exists=True, file_okay=False, help="A backup's folder.")],
) -> None:
    """Fill an empty data folder from a backup; everything in it is verified before."""
    from cli.backup.manifest import BackupError
    from cli.backup.restore import restore as run
    from storage.words import in_words

    settings = Settings()
    try:
        manifest = run(settings, source.absolute(), typer.echo)
    except BackupError as error:
        _refuse("restore", str(error))
    except Exception as error:
        _refuse("restore", in_words(error))
    typer.echo(f"{settings.data_dir} is as it was; `penstock up` goes on from there")
    for line in manifest.left_out:
        typer.echo(f"not in it: {line}")


def _refuse(command: str, reason: str) -> None:
    typer.echo(f"penstock {command}: {reason}", err=True)
    raise typer.Exit(1)
