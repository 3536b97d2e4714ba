"""What bidders are served, over REST: the same as they read from Redis."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from api.auth import CallerDep
from api.background import Following
from api.campaigns import CampaignId
from api.problems import Problem
from api.serving import ServingReader
from schemas.serving import Serving

_ONE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Serving"}}}}
}
_ALL: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            "application/json": {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/Serving"}}}
        }
    }
}


def _ready(request: Request) -> ServingReader:
    """The states; raises Problem 503 while they are rebuilt: an old state could spend what is already spent."""
    following: Following = request.app.state.following
    if not following.ready:
        detail = "The api still reads control and decisions from the log."
        raise Problem(503, "rebuilding", "Serving state is being rebuilt", detail, retry_after_s=1)
    return following.serving


_Serving = Annotated[ServingReader, Depends(_ready)]
router = APIRouter(prefix="/api/v1", tags=["serving"])


@router.get("/serving", responses=_ALL, response_class=Response)
async def all_serving(caller: CallerDep, serving: _Serving) -> Response:
    """The states of all campaigns, by id."""
    return _json([_full(state) for state in serving.of_organisation(caller.org_id)])


@router.get("/campaigns/{campaign_id}/serving", responses=_ONE, response_class=Response)
async def campaign_serving(caller: CallerDep, campaign_id: CampaignId, serving: _Serving) -> Response:
    """A campaign's bid, modifiers, pacing rate and pause flag."""
    state = serving.get(caller.org_id, campaign_id)
    if state is None:
        raise Problem(404, "unknown_campaign", "No such campaign", f"Nothing is known of campaign {campaign_id!r}.")
    return _json(_full(state))


def _full(state: Serving) -> dict[str, Any]:
    """Every field, defaults included: over REST nobody should have to know them."""
    return msgspec.structs.asdict(state)


def _json(content: Any) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(content), media_type="application/json", headers=headers)
