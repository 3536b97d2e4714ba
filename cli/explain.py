"""`penstock explain`: a decision in words, for the person who answers for the money."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from schemas.decisions import Decision
    from schemas.log import Log

_CHUNK_BYTES: Final = 4 * 2**20
# More than this are not told apart for a person.
_CANDIDATES_MAX: Final = 10


def explain(
    decision_id: Annotated[str, typer.Argument(help="Id of the decision, or as much of its beginning as is unique.")],
    org: Annotated[str | None, typer.Option(help="Only this organisation.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The decision itself, one line of JSON.")] = False,
) -> None:
    """What a decision changed, why, from which numbers, what it should bring, and how to undo it."""
    import msgspec

    from bidding.explain import explain as in_words
    from cli.settings import Settings
    from cli.wiring import open_log

    log = open_log(Settings())
    try:
        found = find_decisions(log, decision_id, org)
    finally:
        log.close()
    if not found:
        typer.echo(f"there is no decision {decision_id!r} in the log; older ones are in ClickHouse", err=True)
        raise typer.Exit(1)
    if len(found) > 1:
        typer.echo(
            f"several decisions begin with {decision_id!r}: " + ", ".join(d.decision_id for d in found), err=True
        )
        raise typer.Exit(1)
    (decision,) = found
    typer.echo(msgspec.json.encode(decision).decode() if as_json else in_words(decision))


def find_decisions(log: Log, prefix: str, org_id: str | None = None) -> list[Decision]:
    """Decisions of the log whose id begins so, the oldest first, each once; a whole id ends the search.

    Reads a few MiB at a time, and decodes only records that hold the text.
    """
    from schemas.decisions import decode_decision
    from schemas.unreadable import UNREADABLE

    text = b'"decision_id":"' + prefix.encode()
    found: dict[str, Decision] = {}
    for payload in _payloads(log):
        if text not in payload:
            continue
        for record in payload.split(b"\n"):
            if text not in record:
                continue
            with suppress(*UNREADABLE):
                decision = decode_decision(record)
                if decision.decision_id.startswith(prefix) and org_id in (None, decision.org_id):
                    found.setdefault(decision.decision_id, decision)
        if prefix in found or len(found) >= _CANDIDATES_MAX:
            break
    return [found[prefix]] if prefix in found else list(found.values())


def _payloads(log: Log) -> Iterator[bytes]:
    """The records of topic `decisions`, in blocks of whole lines, up to its end at the beginning of the search."""
    from schemas.log import OffsetGoneError
    from schemas.topics import DECISIONS

    offset, end = log.begin(DECISIONS, 0), log.end(DECISIONS, 0)
    while offset < end:
        try:
            chunk = log.read(DECISIONS, 0, offset, _CHUNK_BYTES)
        except OffsetGoneError as gone:
            offset = gone.begin
            continue
        if chunk is None:
            return
        yield chunk.payload
        offset = chunk.next_offset
