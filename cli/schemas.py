"""`penstock schemas`: the contract on the log, for programs that are not ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock import __version__


def schemas(
    topic: Annotated[str, typer.Argument(help="Print the JSON Schema of this topic's records.")] = "",
    asyncapi: Annotated[bool, typer.Option("--asyncapi", help="Print all topics as one AsyncAPI document.")] = False,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Write every topic's schema and asyncapi.json to this folder.")
    ] = None,
) -> None:
    """JSON Schemas of the topics, and the AsyncAPI document; without arguments the names of the topics."""
    from schemas import published, topics

    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name, document in documents().items():
            (out / name).write_text(as_text(document))
        typer.echo(f"{out}: {len(documents())} files")
    elif asyncapi:
        typer.echo(as_text(documents()["asyncapi.json"]), nl=False)
    elif topic:
        if topic not in topics.ALL:
            raise typer.BadParameter(f"{topic!r} is none of {', '.join(topics.ALL)}")
        typer.echo(as_text(published.topic_schema(topic)), nl=False)
    else:
        typer.echo("\n".join(topics.ALL))


def documents() -> dict[str, dict[str, Any]]:
    """Every file of `docs/schemas/` by name."""
    from schemas import published, topics

    files = {f"{topic}.json": published.topic_schema(topic) for topic in topics.ALL}
    return files | {"asyncapi.json": published.asyncapi(__version__)}


def as_text(document: dict[str, Any]) -> str:
    """A document as its file has it."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
