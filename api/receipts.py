"""What became of decisions on ad platforms: the last word of each, over REST."""

from __future__ import annotations

import logging
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response

from api.auth import CallerDep
from api.fair_map import FairMap
from api.metrics import BAD_RECORDS
from schemas import topics
from schemas.log import Chunk
from schemas.receipts import Receipt, decode_receipt
from schemas.unreadable import UNREADABLE

_log = logging.getLogger(__name__)

# Pairs of decision and platform object remembered, of all organisations; the least recently heard of goes first, of
# whoever has most.
RECEIPTS_MAX: Final = 20_000
PAGE_MAX: Final = 500
# States that somebody should look at.
TROUBLED: Final = frozenset({"retrying", "rejected", "parked"})
# States after which what an older decision failed to do to the same field matters no more.
_DONE: Final = frozenset({"applied", "dry_run"})
# A pause that was refused is made up for by a resume that was not, and the other way round.
_FIELDS: Final = {"pause": "state", "resume": "state"}


class ReceiptBoard:
    """The last receipt of every pair, newest last; fed from topic `receipts`."""

    def __init__(self) -> None:
        self._receipts = FairMap[Receipt](RECEIPTS_MAX)
        # Offset of the newest decision that is in effect, by field of a platform's object.
        self._done = FairMap[int](RECEIPTS_MAX)

    def take(self, chunk: Chunk) -> None:
        """Take in records of topic `receipts`."""
        for raw in chunk.records():
            try:
                receipt = decode_receipt(raw)
            except UNREADABLE as error:
                BAD_RECORDS.labels(topics.RECEIPTS).inc()
                _log.warning("a record of topic receipts was left out: %s", error)
                continue
            self._receipts.put(receipt.org_id, receipt.receipt_id, receipt)
            if receipt.state in _DONE:
                self._take_done(receipt)

    def _take_done(self, receipt: Receipt) -> None:
        place = _field(receipt)
        done = self._done.get(receipt.org_id, place)
        self._done.put(receipt.org_id, place, max(receipt.decision_offset, done or 0))

    def _is_trouble(self, receipt: Receipt) -> bool:
        """It did not take effect, and no newer decision on the same field did either."""
        done = self._done.get(receipt.org_id, _field(receipt))
        return receipt.state in TROUBLED and (done is None or done < receipt.decision_offset)

    def find(
        self, org_id: str, *, campaign_id: str | None, decision_id: str | None, troubled: bool, limit: int
    ) -> list[Receipt]:
        """An organisation's receipts that fit, newest first."""
        found: list[Receipt] = []
        for receipt in self._receipts.newest(org_id):
            fits = (
                campaign_id in (None, receipt.campaign_id)
                and decision_id in (None, receipt.decision_id)
                and (not troubled or self._is_trouble(receipt))
            )
            if fits:
                found.append(receipt)
                if len(found) == limit:
                    break
        return found


def _field(receipt: Receipt) -> str:
    kind = _FIELDS.get(receipt.kind, receipt.kind)
    return "\0".join((receipt.campaign_id, receipt.platform, receipt.account_id, receipt.campaign_ref, kind))


_LISTED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/json": {"schema": {"type": "array", "items": {"type": "object"}}}}}
}
router = APIRouter(prefix="/api/v1", tags=["receipts"])


@router.get("/receipts", responses=_LISTED, response_class=Response)
async def receipts(
    request: Request,
    caller: CallerDep,
    campaign_id: Annotated[str | None, Query(description="Of one campaign only.")] = None,
    decision_id: Annotated[str | None, Query(description="Of one decision only.")] = None,
    troubled: Annotated[
        bool, Query(description="Only what is retrying, rejected or parked, and not made up for by a newer decision.")
    ] = False,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
) -> Response:
    """What became of decisions on ad platforms, the newest first."""
    board: ReceiptBoard = request.app.state.following.receipts
    found = board.find(caller.org_id, campaign_id=campaign_id, decision_id=decision_id, troubled=troubled, limit=limit)
    return Response(msgspec.json.encode(found), media_type="application/json", headers={"Cache-Control": "no-store"})
