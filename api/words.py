"""People's words on decisions, over REST: which recommendations were approved or rejected, what was undone."""

from __future__ import annotations

import logging
from itertools import islice
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response

from api.auth import CallerDep
from api.fair_map import FairMap
from schemas.control import DecisionWordRecord, decode_control
from schemas.log import Chunk
from schemas.unreadable import UNREADABLE

_log = logging.getLogger(__name__)

# Decisions whose last word is remembered, of all organisations; the one spoken of longest ago goes first, of whoever
# has most.
WORDS_MAX: Final = 20_000
PAGE_MAX: Final = 2_000


class WordBoard:
    """The last word on every decision, newest last; fed from topic `control`."""

    def __init__(self) -> None:
        self._words = FairMap[DecisionWordRecord](WORDS_MAX)

    def take(self, chunk: Chunk) -> None:
        """Take in the words among records of topic `control`."""
        for raw in chunk.records():
            try:
                record = decode_control(raw)
            except UNREADABLE:
                # Counted and told by the roster, which reads the same records.
                continue
            if not isinstance(record, DecisionWordRecord):
                continue
            last = self._words.get(record.org_id, record.decision_id)
            if last is not None and last.version > record.version:
                continue
            self._words.put(record.org_id, record.decision_id, record)

    def newest(self, org_id: str, limit: int) -> list[DecisionWordRecord]:
        """An organisation's words, newest first."""
        return list(islice(self._words.newest(org_id), limit))


_LISTED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/json": {"schema": {"type": "array", "items": {"type": "object"}}}}}
}
router = APIRouter(prefix="/api/v1", tags=["decisions"])


@router.get("/decision-words", responses=_LISTED, response_class=Response)
async def decision_words(
    request: Request, caller: CallerDep, limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE_MAX
) -> Response:
    """The last word of a person on each decision, newest first: approve, reject or undo, whose and when."""
    board: WordBoard = request.app.state.following.words
    told = [
        {
            "decision_id": record.decision_id,
            "campaign_id": record.campaign_id,
            "word": record.word,
            "changed_by": record.changed_by,
            "changed_ms": record.changed_ms,
        }
        for record in board.newest(caller.org_id, limit)
    ]
    return Response(msgspec.json.encode(told), media_type="application/json", headers={"Cache-Control": "no-store"})
