"""The ad platforms there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from platforms.google import GoogleAds
from platforms.linkedin import LinkedIn
from platforms.meta import Meta
from platforms.model import Adapter
from platforms.tiktok import TikTok
from platforms.x import X

# A new one: its adapter here, and its name in `schemas.events.PLATFORMS`, by which events and links call it.
_ALL: Final[tuple[Adapter, ...]] = (GoogleAds(), Meta(), TikTok(), LinkedIn(), X())
ADAPTERS: Final[Mapping[str, Adapter]] = {adapter.platform: adapter for adapter in _ALL}
