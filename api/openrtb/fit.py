"""Which creative a slot takes. What a slot restricts and a creative does not declare does not fit. Pure.

Source: OpenRTB 2.6, sections 3.2.4 to 3.2.9; lists of AdCOM 1.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from api.openrtb.markup import banner_type, insecure
from api.openrtb.messages import Audio, Banner, BidRequest, Impression, Native, Video
from api.openrtb.native import Wanted, answer_assets, read_native
from schemas.campaigns import Creative

# Linearity of a slot that takes overlays only; ours play in line.
NON_LINEAR: Final = 2


@dataclass(frozen=True, slots=True)
class Rules:
    """What a request blocks or allows, made ready once for all its slots."""

    advertisers: frozenset[str]
    blocked: tuple[str, ...]
    allowed: tuple[str, ...]
    taxonomy: int
    languages: frozenset[str]
    children: bool


@dataclass(frozen=True, slots=True)
class Slot:
    """An impression with its native request read, once for all campaigns."""

    impression: Impression
    native: Wanted | None


class Fit(NamedTuple):
    """A creative for a slot; for native with its assets."""

    creative: Creative
    assets: list[dict[str, Any]] | None = None
    rooted: bool = False


def rules_of(request: BidRequest) -> Rules:
    """The request's block lists and allow lists."""
    return Rules(
        advertisers=frozenset(domain.lower() for domain in request.badv),
        blocked=tuple(request.bcat),
        allowed=tuple(request.acat),
        taxonomy=request.cattax,
        languages=frozenset(language.lower()[:2] for language in request.wlang),
        children=request.regs is not None and request.regs.coppa == 1,
    )


def slot_of(impression: Impression) -> Slot:
    """The impression, ready to be looked at with many campaigns."""
    return Slot(impression, read_native(impression.native.request) if impression.native is not None else None)


def first_fit(creatives: Sequence[Creative], slot: Slot, rules: Rules) -> Fit | None:
    """The first creative that the slot and the request take."""
    for creative in creatives:
        fit = _in_slot(creative, slot)
        if fit is not None and _allowed(creative, rules):
            return fit
    return None


def fits_but_for_children(creatives: Sequence[Creative], slot: Slot, rules: Rules) -> bool:
    """Would one fit, were it not for COPPA?"""
    return rules.children and any(not c.for_children and _in_slot(c, slot) is not None for c in creatives)


def is_below(domain: str, domains: frozenset[str]) -> bool:
    """Is the domain one of these or below one of them?

    >>> [is_below(domain, frozenset({"shop.example"})) for domain in ("www.shop.example", "myshop.example")]
    [True, False]
    """
    parts = domain.lower().split(".")
    return any(".".join(parts[start:]) in domains for start in range(len(parts)))


def _allowed(creative: Creative, rules: Rules) -> bool:
    if rules.children and not creative.for_children:
        return False
    if rules.advertisers and any(is_below(domain, rules.advertisers) for domain in creative.landing_domains):
        return False
    if rules.languages and creative.language is not None and creative.language not in rules.languages:
        return False
    if creative.categories and (rules.blocked or rules.allowed):
        # Categories of another taxonomy cannot be compared.
        if creative.category_taxonomy != rules.taxonomy:
            return False
        if any(_within(category, rules.blocked) for category in creative.categories):
            return False
        if rules.allowed and not all(_within(category, rules.allowed) for category in creative.categories):
            return False
    return True


def _within(category: str, listed: Sequence[str]) -> bool:
    """A category is within itself and within what it is a part of: IAB1-2 within IAB1."""
    return any(category == each or category.startswith(f"{each}-") for each in listed)


def _in_slot(creative: Creative, slot: Slot) -> Fit | None:
    imp = slot.impression
    if imp.secure == 1 and _loads_over_http(creative):
        return None
    match creative.kind:
        case "banner":
            return Fit(creative) if imp.banner is not None and _banner(creative, imp.banner) else None
        case "video":
            return Fit(creative) if imp.video is not None and _video(creative, imp.video) else None
        case "audio":
            return Fit(creative) if imp.audio is not None and _media(creative, imp.audio) else None
    if imp.native is None or slot.native is None or not _frameworks(creative, imp.native):
        return None
    assets = answer_assets(creative, slot.native)
    return Fit(creative, assets, slot.native.rooted) if assets is not None else None


def _loads_over_http(creative: Creative) -> bool:
    if creative.native is None:
        return insecure(creative.markup or "")
    images = any(image.url.startswith("http:") for image in creative.native.images)
    return images or insecure(creative.native.video or "")


def _banner(creative: Creative, slot: Banner) -> bool:
    size = (creative.width, creative.height)
    if size != (slot.w, slot.h) and not any(size == (each.w, each.h) for each in slot.format):
        return False
    if slot.mimes and (creative.mime or "text/html") not in slot.mimes:
        return False
    if slot.btype and (creative.banner_type or banner_type(creative.markup or "")) in slot.btype:
        return False
    return _frameworks(creative, slot)


def _video(creative: Creative, slot: Video) -> bool:
    return slot.linearity != NON_LINEAR and _media(creative, slot)


def _media(creative: Creative, slot: Video | Audio) -> bool:
    duration = creative.duration_s
    if creative.mime not in slot.mimes or (slot.protocols and creative.protocol not in slot.protocols):
        return False
    if slot.rqddurs and duration not in slot.rqddurs:
        return False
    if slot.minduration and (duration is None or duration < slot.minduration):
        return False
    if slot.maxduration and (duration is None or duration > slot.maxduration):
        return False
    # What costs by the second has no price without a length.
    if (slot.mincpmpersec or slot.durfloors) and duration is None:
        return False
    return _frameworks(creative, slot)


def _frameworks(creative: Creative, slot: Banner | Video | Audio | Native) -> bool:
    if creative.attributes and slot.battr and not set(creative.attributes).isdisjoint(slot.battr):
        return False
    return not creative.apis or set(creative.apis) <= set(slot.api)
