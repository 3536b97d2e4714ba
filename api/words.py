"""People's words on decisions, over REST: which recommendations were approved or rejected, what was undone."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response

from api.auth import CallerDep
from schemas.control import DecisionWordRecord, decode_control
from schemas.log import Chunk

_log = logging.getLogger(__name__)

# Decisions whose last word is remembered; the one spoken of longest ago goes first.
WORDS_MAX: Final = 20_000
PAGE_MAX: Final = 2_000


class WordBoard:
    """The last word on every decision, newest last; fed from topic `control`."""

    def __init__(self) -> None:
        self._words: OrderedDict[tuple[str, str], DecisionWordRecord] = OrderedDict()

    def take(self, chunk: Chunk) -> None:
        """Take in the words among records of topic `control`."""
        for raw in chunk.records():
            try:
                record = decode_control(raw)
            except msgspec.DecodeError:
                # Counted and told by the roster, which reads the same records.
                continue
            if not isinstance(record, DecisionWordRecord):
                continue
            place = (record.org_id, record.decision_id)
            last = self._words.get(place)
            if last is not None and last.version > record.version:
                continue
            self._words[place] = record
            self._words.move_to_end(place)
            if len(self._words) > WORDS_MAX:
                self._words.popitem(last=False)

    def newest(self, org_id: str, limit: int) -> list[DecisionWordRecord]:
        """An organisation's words, newest first."""
        found: list[DecisionWordRecord] = []
        for record in reversed(self._words.values()):
            if record.org_id == org_id:
                found.append(record)
                if len(found) == limit:
                    break
        return found


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
