"""Every `penstock ...` that README and docs name is a command with those options."""

from __future__ import annotations

import shlex

import pytest
import typer.main

from cli.main import app
from tests.docs.commands import named_commands

ROOT_COMMAND = typer.main.get_command(app)


def complaint(words: str) -> str | None:
    """What is wrong with a command, by its words behind `penstock`; None when nothing is."""
    try:
        parts = shlex.split(words)
    except ValueError as error:
        return str(error)
    command = ROOT_COMMAND
    while parts and (known := getattr(command, "commands", {}).get(parts[0])) is not None:
        command = known
        parts = parts[1:]
    if command is ROOT_COMMAND and parts and parts[0].isalpha():
        return f"there is no command {parts[0]}"
    if command.name == "replay" and parts and parts[0] != "--help":
        # `replay FILE...` means `replay files FILE...`.
        command = command.commands["files"]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [part.partition("=")[0] for part in parts if part.startswith("--")]
    wrong = [name for name in unknown if name not in options | {"--help"}]
    return f"{command.name} has no {', '.join(wrong)}" if wrong else None


@pytest.mark.parametrize(("page", "words"), sorted(set(named_commands())))
def test_a_command_named_in_the_docs_is_there_with_its_options(page: str, words: str) -> None:
    wrong = complaint(words)
    assert wrong is None, f"{page} names `penstock {words}`: {wrong}"


def test_a_command_or_option_that_is_not_there_is_found() -> None:
    assert complaint("nosuch") is not None
    assert complaint("doctor --no-such-option") is not None
    assert complaint("bench kpi events.ndjson --out windows.csv") is None
