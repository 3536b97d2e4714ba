"""What is wrong with a request that could be read. Pure.

Source: OpenRTB 2.6, section 3.2: required attributes, what excludes each other, and values that mean nothing.
"""

from __future__ import annotations

from typing import Final

from api.openrtb.messages import Audio, BidRequest, Impression, Video

# Real requests have a handful of slots; each is looked at with every campaign.
IMPRESSIONS_MAX: Final = 64


def fault(request: BidRequest) -> str | None:
    """Why nobody should bid on this request, in a clause; None when it is in order.

    >>> from api.openrtb.messages import decode_request
    >>> fault(decode_request(b'{"id": "1", "imp": []}'))
    'imp is empty'
    """
    if not request.id:
        return "id is empty"
    if not request.imp:
        return "imp is empty"
    if len(request.imp) > IMPRESSIONS_MAX:
        return f"more than {IMPRESSIONS_MAX} imp"
    if len({imp.id for imp in request.imp}) != len(request.imp):
        return "two imp have one id"
    if sum(place is not None for place in (request.site, request.app, request.dooh)) > 1:
        return "more than one of site, app and dooh"
    if request.tmax is not None and request.tmax < 0:
        return "tmax is below 0"
    return next((wrong for imp in request.imp if (wrong := _of_impression(imp)) is not None), None)


def _of_impression(imp: Impression) -> str | None:
    if not imp.id:
        return "an imp has an empty id"
    if imp.banner is None and imp.video is None and imp.audio is None and imp.native is None:
        return "an imp has none of banner, video, audio and native"
    if imp.bidfloor < 0:
        return "bidfloor is below 0"
    if imp.pmp is not None and any(deal.bidfloor < 0 or not deal.id for deal in imp.pmp.deals):
        return "a deal has a floor below 0 or no id"
    sizes: list[int | None] = []
    if imp.banner is not None:
        sizes += [imp.banner.w, imp.banner.h]
        for size in imp.banner.format:
            sizes += [size.w, size.h]
    if imp.video is not None:
        sizes += [imp.video.w, imp.video.h]
    if any(size is not None and size < 0 for size in sizes):
        return "a size is below 0"
    return _of_media("video", imp.video) or _of_media("audio", imp.audio)


def _of_media(name: str, slot: Video | Audio | None) -> str | None:
    if slot is None:
        return None
    if not slot.mimes or not all(slot.mimes):
        return f"{name}.mimes is missing, empty or holds an empty text"
    least, most = slot.minduration, slot.maxduration
    if any(duration < 0 for duration in (least, most, *slot.rqddurs) if duration is not None):
        return f"a duration of {name} is below 0"
    if least is not None and most is not None and least > most:
        return f"{name}.minduration is above maxduration"
    if slot.mincpmpersec < 0 or any(floor.bidfloor < 0 for floor in slot.durfloors):
        return f"a floor of {name} is below 0"
    if slot.rqddurs and (least or most):
        return f"{name}.rqddurs excludes minduration and maxduration"
    return None
