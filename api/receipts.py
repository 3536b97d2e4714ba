"""What became of decisions on ad platforms: the last word of each, over REST."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response

from api.auth import CallerDep
from api.metrics import BAD_RECORDS
from schemas import topics
from schemas.log import Chunk
from schemas.receipts import Receipt, decode_receipt

_log = logging.getLogger(__name__)

# Pairs of decision and platform object remembered; the least recently heard of goes first.
RECEIPTS_MAX: Final = 20_000
PAGE_MAX: Final = 500
# States that somebody should look at.
TROUBLED: Final = frozenset({"retrying", "rejected", "parked"})
# States after which what an older decision failed to do to the same field matters no more.
_DONE: Final = frozenset({"applied", "dry_run"})
# A pause that was refused is made up for by a resume that was not, and the other way round.
_FIELDS: Final = {"pause": "state", "resume": "state"}

_Field = tuple[str, str, str, str, str, str]


class ReceiptBoard:
    """The last receipt of every pair, newest last; fed from topic `receipts`."""

    def __init__(self) -> None:
        self._receipts: OrderedDict[str, Receipt] = OrderedDict()
        # Offset of the newest decision that is in effect, by field of a platform's object.
        self._done: OrderedDict[_Field, int] = OrderedDict()

    def take(self, chunk: Chunk) -> None:
        """Take in records of topic `receipts`."""
        for raw in chunk.records():
            try:
                receipt = decode_receipt(raw)
            except msgspec.DecodeError as error:
                BAD_RECORDS.labels(topics.RECEIPTS).inc()
                _log.warning("a record of topic receipts was left out: %s", error)
                continue
            self._receipts[receipt.receipt_id] = receipt
            self._receipts.move_to_end(receipt.receipt_id)
            if len(self._receipts) > RECEIPTS_MAX:
                self._receipts.popitem(last=False)
            if receipt.state in _DONE:
                self._take_done(receipt)

    def _take_done(self, receipt: Receipt) -> None:
        place = _field(receipt)
        self._done[place] = max(receipt.decision_offset, self._done.get(place, 0))
        self._done.move_to_end(place)
        if len(self._done) > RECEIPTS_MAX:
            self._done.popitem(last=False)

    def _is_trouble(self, receipt: Receipt) -> bool:
        """It did not take effect, and no newer decision on the same field did either."""
        return receipt.state in TROUBLED and self._done.get(_field(receipt), -1) < receipt.decision_offset

    def find(
        self, org_id: str, *, campaign_id: str | None, decision_id: str | None, troubled: bool, limit: int
    ) -> list[Receipt]:
        """An organisation's receipts that fit, newest first."""
        found: list[Receipt] = []
        for receipt in reversed(self._receipts.values()):
            fits = (
                receipt.org_id == org_id
                and campaign_id in (None, receipt.campaign_id)
                and decision_id in (None, receipt.decision_id)
                and (not troubled or self._is_trouble(receipt))
            )
            if fits:
                found.append(receipt)
                if len(found) == limit:
                    break
        return found


def _field(receipt: Receipt) -> _Field:
    kind = _FIELDS.get(receipt.kind, receipt.kind)
    return (
        receipt.org_id,
        receipt.campaign_id,
        receipt.platform,
        receipt.account_id,
        receipt.campaign_ref,
        kind,
    )


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
