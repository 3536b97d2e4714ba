"""What was refused, over REST: how often for which reason, and the newest of it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response

from api.auth import CallerDep
from api.metrics import BAD_RECORDS
from api.wiring import Wiring
from control.letters import settled_among
from schemas import topics
from schemas.dead_letters import DeadLetter, Reject
from schemas.log import Chunk
from schemas.unreadable import UNREADABLE

_log = logging.getLogger(__name__)

# Letters remembered of an organisation, each at most 8 KiB of raw text; `penstock dlq` has all that the log has.
LETTERS_MAX: Final = 200
# Producers that write to the log themselves name any organisation; the one that was silent longest is forgotten.
ORGANISATIONS_MAX: Final = 32

_decoder = msgspec.json.Decoder(DeadLetter)


@dataclass(slots=True)
class Refused:
    """One organisation's letters: how many for each reason since `since_ms`, and the newest, newest last."""

    since_ms: int
    counts: Counter[str] = field(default_factory=Counter)
    newest: OrderedDict[str, DeadLetter] = field(default_factory=OrderedDict)

    def take(self, letter: DeadLetter) -> None:
        """Count a letter and keep it; one that comes again after a restart of the flow changes nothing."""
        if letter.dead_letter_id in self.newest:
            return
        self.counts[letter.reason] += 1
        self.newest[letter.dead_letter_id] = letter
        if len(self.newest) > LETTERS_MAX:
            self.newest.popitem(last=False)


class DeadLetterBoard:
    """The newest letters of every organisation; fed from topic `events.dlq`."""

    def __init__(self) -> None:
        self._organisations: OrderedDict[str, Refused] = OrderedDict()

    def take(self, chunk: Chunk) -> None:
        """Take in records of topic `events.dlq`."""
        for raw in chunk.records():
            try:
                letter = _decoder.decode(raw)
            except UNREADABLE as error:
                BAD_RECORDS.labels(topics.DEAD_LETTERS).inc()
                _log.warning("a record of topic events.dlq was left out: %s", error)
                continue
            refused = self._organisations.setdefault(letter.org_id, Refused(letter.ts_ms))
            self._organisations.move_to_end(letter.org_id)
            refused.take(letter)
            if len(self._organisations) > ORGANISATIONS_MAX:
                self._organisations.popitem(last=False)

    def of(self, org_id: str) -> Refused | None:
        """An organisation's letters; None when nothing was refused."""
        return self._organisations.get(org_id)


_LISTED: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["counts", "since_ms", "letters"],
                    "properties": {
                        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
                        "since_ms": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                        "letters": {"type": "array", "items": {"type": "object"}},
                    },
                }
            }
        }
    }
}
router = APIRouter(prefix="/api/v1", tags=["dead letters"])


@router.get("/dead-letters", responses=_LISTED, response_class=Response)
async def dead_letters(
    request: Request,
    caller: CallerDep,
    reason: Annotated[Reject | None, Query(description="Letters of one reason only.")] = None,
    limit: Annotated[int, Query(ge=1, le=LETTERS_MAX)] = 50,
) -> Response:
    """How many events were refused for which reason since `since_ms`, and the newest, newest first.

    `settled` of a letter is "fixed", "replayed" or "dropped", or null while it waits for somebody.
    """
    board: DeadLetterBoard = request.app.state.following.dead_letters
    wiring: Wiring = request.app.state.wiring
    refused = board.of(caller.org_id)
    if refused is None:
        return _answer({"counts": {}, "since_ms": None, "letters": []})
    fitting = [letter for letter in reversed(refused.newest.values()) if reason in (None, letter.reason)][:limit]
    how = await asyncio.to_thread(settled_among, wiring.store.engine, [letter.dead_letter_id for letter in fitting])
    letters = [msgspec.structs.asdict(letter) | {"settled": how.get(letter.dead_letter_id)} for letter in fitting]
    return _answer({"counts": dict(refused.counts.most_common()), "since_ms": refused.since_ms, "letters": letters})


def _answer(told: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(told), media_type="application/json", headers={"Cache-Control": "no-store"})
