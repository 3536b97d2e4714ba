"""Campaigns over REST: definitions, their history, people's overrides, what bidders are served."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.auth import Caller, CallerDep
from api.body import DEFINITION, WORD, json_body
from api.problems import Problem, invalid
from api.wiring import Wiring
from control.errors import VersionConflictError
from control.store import Action, StoredCampaign
from schemas.campaigns import Campaign, PriceMicros

PAGE_MAX: Final = 1_000
# A change of the same campaign at the same moment is rare, twice in a row is someone else's loop.
_MERGE_TRIES: Final = 3


class CampaignOut(BaseModel):
    """A definition in force."""

    campaign: Campaign
    version: int
    changed_by: str
    changed_ms: int


class CampaignPage(BaseModel):
    """Campaigns by id; `next_after` is there when more follow."""

    campaigns: list[CampaignOut]
    next_after: str | None


class ChangeOut(BaseModel):
    """One version of a campaign; `before` is null in the first."""

    version: int
    changed_by: str
    changed_ms: int
    before: Campaign | None
    after: Campaign


class Revert(BaseModel):
    """Which version to go back to."""

    model_config = ConfigDict(extra="forbid")

    to_version: Annotated[int, Field(ge=1)]


class OverrideIn(BaseModel):
    """A person's word that automation respects until it is lifted; `bid_micros` goes with set_bid."""

    model_config = ConfigDict(extra="forbid")

    action: Action
    bid_micros: PriceMicros | None = None
    note: Annotated[str, Field(max_length=1_000)] = ""


class OverrideOut(BaseModel):
    """An override as it was given."""

    version: int
    action: Action
    bid_micros: int | None
    note: str
    changed_by: str
    changed_ms: int


class Numbered(BaseModel):
    """The number that a change got."""

    version: int


router = APIRouter(prefix="/api/v1/campaigns", tags=["campaigns"])

CampaignId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.:\-]{1,128}$")]
_IfMatch = Annotated[str | None, Header(description='Version that was read, such as "3"; 412 when it is another.')]


def _takes(schema: str) -> dict[str, Any]:
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
        }
    }


_Object = Annotated[dict[str, Any], Depends(json_body(dict[str, Any], DEFINITION))]
_MERGE: Final = {
    "requestBody": {
        "required": True,
        "description": "Fields to change, as a JSON merge patch (RFC 7396); null takes a field away.",
        "content": {"application/merge-patch+json": {"schema": {"type": "object"}},
                    "application/json": {"schema": {"type": "object"}}},
    }
}  # fmt: skip


def _wiring(request: Request) -> Wiring:
    wiring: Wiring = request.app.state.wiring
    return wiring


def _out(stored: StoredCampaign) -> CampaignOut:
    return CampaignOut(
        campaign=stored.definition,
        version=stored.version,
        changed_by=stored.changed_by,
        changed_ms=stored.changed_ms,
    )


@router.get("")
def list_campaigns(
    request: Request,
    caller: CallerDep,
    after: Annotated[str, Query(description="next_after of the page before.", max_length=128)] = "",
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE_MAX,
    archived: Annotated[bool, Query(description="Also those that were put away.")] = False,
) -> CampaignPage:
    """Definitions in force, by id."""
    found = _wiring(request).store.campaigns(caller.org_id, after=after, limit=limit + 1, archived=archived)
    page = [_out(stored) for stored in found[:limit]]
    return CampaignPage(campaigns=page, next_after=page[-1].campaign.campaign_id if len(found) > limit else None)


@router.get("/{campaign_id}")
def get_campaign(request: Request, response: Response, caller: CallerDep, campaign_id: CampaignId) -> CampaignOut:
    """The definition in force; its version is the ETag."""
    out = _out(_wiring(request).store.campaign(caller.org_id, campaign_id))
    response.headers["ETag"] = f'"{out.version}"'
    return out


@router.put("/{campaign_id}", openapi_extra=_takes("Campaign"))
def put_campaign(
    request: Request,
    response: Response,
    caller: CallerDep,
    campaign_id: CampaignId,
    definition: _Object,
    if_match: _IfMatch = None,
) -> CampaignOut:
    """Set the whole definition; unchanged, it keeps its version."""
    campaign = _checked(definition, campaign_id, caller)
    with _matching(if_match):
        return _put(request, response, caller, campaign, _expected(if_match))


@router.patch("/{campaign_id}", openapi_extra=_MERGE)
def merge_campaign(
    request: Request,
    response: Response,
    caller: CallerDep,
    campaign_id: CampaignId,
    changes: _Object,
    if_match: _IfMatch = None,
) -> CampaignOut:
    """Change some fields, a budget for example."""
    with _matching(if_match):
        return _merged(request, response, caller, campaign_id, changes, _expected(if_match))


def _merged(
    request: Request,
    response: Response,
    caller: Caller,
    campaign_id: str,
    changes: dict[str, Any],
    expected: int | None,
) -> CampaignOut:
    for left in reversed(range(_MERGE_TRIES)):
        stored = _wiring(request).store.campaign(caller.org_id, campaign_id)
        merged = merge(stored.definition.model_dump(mode="json"), changes)
        try:
            campaign = _checked(merged, campaign_id, caller)
            return _put(request, response, caller, campaign, stored.version if expected is None else expected)
        except VersionConflictError:
            if expected is not None or not left:
                raise
    raise AssertionError("the last try returns or raises")


@router.delete("/{campaign_id}")
def archive_campaign(
    request: Request,
    response: Response,
    caller: CallerDep,
    campaign_id: CampaignId,
    if_match: _IfMatch = None,
) -> CampaignOut:
    """Put a campaign away: it is not bid for, its events still count, and setting its status takes it out again.

    Archived already, it stays as it is.
    """
    wiring = _wiring(request)
    with _matching(if_match):
        wiring.store.archive_campaign(
            caller.org_id,
            campaign_id,
            changed_by=caller.name,
            now_ms=wiring.now_ms(),
            expected_version=_expected(if_match),
        )
    request.app.state.outbox.wake()
    return get_campaign(request, response, caller, campaign_id)


@router.get("/{campaign_id}/changes")
def list_changes(request: Request, caller: CallerDep, campaign_id: CampaignId) -> list[ChangeOut]:
    """Every version, newest first: who changed what, when."""
    changes = _wiring(request).store.changes(caller.org_id, campaign_id)
    return [
        ChangeOut(
            version=change.version,
            changed_by=change.changed_by,
            changed_ms=change.changed_ms,
            before=change.before,
            after=change.after,
        )
        for change in reversed(changes)
    ]


@router.post("/{campaign_id}/revert", openapi_extra=_takes("Revert"))
def revert(
    request: Request,
    response: Response,
    caller: CallerDep,
    campaign_id: CampaignId,
    revert: Annotated[Revert, Depends(json_body(Revert, WORD))],
) -> CampaignOut:
    """Go back to a former definition, which becomes a new version."""
    wiring = _wiring(request)
    wiring.store.revert_campaign(
        caller.org_id, campaign_id, revert.to_version, changed_by=caller.name, now_ms=wiring.now_ms()
    )
    request.app.state.outbox.wake()
    return get_campaign(request, response, caller, campaign_id)


@router.post("/{campaign_id}/override", openapi_extra=_takes("OverrideIn"))
def override(
    request: Request,
    caller: CallerDep,
    campaign_id: CampaignId,
    override: Annotated[OverrideIn, Depends(json_body(OverrideIn, WORD))],
) -> Numbered:
    """Pause, resume or set the bid by hand, or lift what was set by hand."""
    wiring = _wiring(request)
    version = wiring.store.override(
        caller.org_id,
        campaign_id,
        override.action,
        changed_by=caller.name,
        now_ms=wiring.now_ms(),
        bid_micros=override.bid_micros,
        note=override.note,
    )
    request.app.state.outbox.wake()
    return Numbered(version=version)


@router.get("/{campaign_id}/overrides")
def list_overrides(request: Request, caller: CallerDep, campaign_id: CampaignId) -> list[OverrideOut]:
    """Every override of a campaign, newest first."""
    store = _wiring(request).store
    store.campaign(caller.org_id, campaign_id)
    given = store.overrides(caller.org_id, campaign_id)
    return [OverrideOut.model_validate(each, from_attributes=True) for each in reversed(given)]


def merge(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """JSON merge patch, RFC 7396.

    >>> merge({"a": 1, "b": {"c": 2, "d": 3}}, {"a": None, "b": {"c": 4}})
    {'b': {'c': 4, 'd': 3}}
    """
    merged = dict(target)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            below = merged.get(name)
            merged[name] = merge(below if isinstance(below, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def _put(request: Request, response: Response, caller: Caller, campaign: Campaign, expected: int | None) -> CampaignOut:
    wiring = _wiring(request)
    wiring.store.put_campaign(campaign, changed_by=caller.name, now_ms=wiring.now_ms(), expected_version=expected)
    request.app.state.outbox.wake()
    return get_campaign(request, response, caller, campaign.campaign_id)


def _checked(definition: dict[str, Any], campaign_id: str, caller: Caller) -> Campaign:
    """The definition with the id of its address and the caller's organisation; raises Problem 422."""
    given = dict(definition)
    if "id" in given:
        given.setdefault("campaign_id", given.pop("id"))
    for field, value in (("campaign_id", campaign_id), ("org_id", caller.org_id)):
        if given.setdefault(field, value) != value:
            raise Problem(422, f"wrong_{field}", "Not the one addressed", f"{field} must be {value!r} or left out.")
    try:
        return Campaign.model_validate(given)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False)) from error


@contextmanager
def _matching(if_match: str | None) -> Iterator[None]:
    """A version that is not the one named is 412, with the one in force (RFC 9110, section 13.1.1)."""
    try:
        yield
    except VersionConflictError as error:
        if if_match is None:
            raise
        headers = {"ETag": f'"{error.current}"'} if error.current else None
        raise Problem(412, "version_conflict", "Changed by someone else", str(error), headers=headers) from error


def _expected(if_match: str | None) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    version = if_match.strip().removeprefix("W/").strip('"')
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        raise Problem(422, "bad_if_match", "If-Match is not a version", 'Send the ETag that was read, such as "3".')
    return int(version)
