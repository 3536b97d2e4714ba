"""Native ads: the assets that a slot asks for, taken from what a creative has. Pure.

Source: OpenRTB Dynamic Native Ads 1.2, sections 4 (request) and 5 (response).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from api.openrtb.markup import filled
from schemas.campaigns import Creative, NativeAd, NativeImage

# Real requests ask for up to about ten assets.
ASSETS_MAX: Final = 64
VERSION: Final = "1.2"


class Title(msgspec.Struct):
    """Text of at most `len` characters."""

    len: int


class Image(msgspec.Struct):
    """An image; `w` and `h` exact, `wmin` and `hmin` at least."""

    type: int | None = None
    w: int | None = None
    h: int | None = None
    wmin: int | None = None
    hmin: int | None = None
    mimes: list[str] = []


class NativeVideo(msgspec.Struct):
    """A video; durations in seconds."""

    mimes: list[str] = []
    minduration: int | None = None
    maxduration: int | None = None
    protocols: list[int] = []


class Data(msgspec.Struct):
    """A text of a kind, of at most `len` characters."""

    type: int
    len: int | None = None


class Asset(msgspec.Struct):
    """One thing asked for."""

    id: int
    required: int = 0
    title: Title | None = None
    img: Image | None = None
    video: NativeVideo | None = None
    data: Data | None = None


class NativeRequest(msgspec.Struct):
    """What a native slot asks for."""

    assets: list[Asset]
    ver: str | None = None


class _Rooted(msgspec.Struct):
    native: NativeRequest


class Wanted(msgspec.Struct):
    """A request, and whether it came with the root `native` that versions before 1.1 had; the answer then has it."""

    request: NativeRequest
    rooted: bool


def read_native(given: Any) -> Wanted | None:
    """The native request in `imp.native.request`, JSON text or an object; None when it cannot be read."""
    try:
        loaded = msgspec.json.decode(given) if isinstance(given, str) else given
        rooted = isinstance(loaded, dict) and "native" in loaded
        request = msgspec.convert(loaded, _Rooted).native if rooted else msgspec.convert(loaded, NativeRequest)
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError):
        return None
    ids = {asset.id for asset in request.assets}
    if not request.assets or len(request.assets) > ASSETS_MAX or len(ids) != len(request.assets):
        return None
    return Wanted(request, rooted)


def answer_assets(creative: Creative, wanted: Wanted) -> list[dict[str, Any]] | None:
    """The response's assets; None when the creative lacks one that is required."""
    if creative.native is None:
        return None
    assets: list[dict[str, Any]] = []
    for asset in wanted.request.assets:
        value = _value(asset, creative.native, creative)
        if value is not None:
            assets.append({"id": asset.id, **value})
        elif asset.required:
            return None
    return assets or None


def native_markup(assets: list[dict[str, Any]], click_url: str, *, rooted: bool) -> str:
    """The `adm` of a native bid; our macros in a video's VAST are replaced."""
    assets = [
        asset | {"video": {"vasttag": filled(asset["video"]["vasttag"], click_url)}} if "video" in asset else asset
        for asset in assets
    ]
    answer: dict[str, Any] = {"ver": VERSION, "assets": assets, "link": {"url": click_url}}
    return msgspec.json.encode({"native": answer} if rooted else answer).decode()


def _value(asset: Asset, ad: NativeAd, creative: Creative) -> dict[str, Any] | None:
    if asset.title is not None:
        return {"title": {"text": ad.title, "len": len(ad.title)}} if len(ad.title) <= asset.title.len else None
    if asset.img is not None:
        image = next((image for image in ad.images if _fits(image, asset.img)), None)
        if image is None:
            return None
        return {"img": {"type": image.type, "url": image.url, "w": image.width, "h": image.height}}
    if asset.data is not None:
        most = asset.data.len
        text = next((data.value for data in ad.data if data.type == asset.data.type), None)
        if text is None or (most is not None and len(text) > most):
            return None
        return {"data": {"type": asset.data.type, "value": text, "len": len(text)}}
    if asset.video is not None and ad.video is not None and _plays(creative, asset.video):
        return {"video": {"vasttag": ad.video}}
    return None


def _fits(image: NativeImage, slot: Image) -> bool:
    if (slot.type is not None and image.type != slot.type) or (slot.mimes and image.mime not in slot.mimes):
        return False
    # With a least size the exact one is only what would be best.
    wide = image.width >= slot.wmin if slot.wmin is not None else slot.w in (None, image.width)
    high = image.height >= slot.hmin if slot.hmin is not None else slot.h in (None, image.height)
    return wide and high


def _plays(creative: Creative, slot: NativeVideo) -> bool:
    duration = creative.duration_s
    if creative.mime not in slot.mimes or duration is None or (slot.protocols and creative.protocol is None):
        return False
    if slot.protocols and creative.protocol not in slot.protocols:
        return False
    return (slot.minduration or 0) <= duration and (slot.maxduration is None or duration <= slot.maxduration)
