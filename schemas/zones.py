"""Time zones as the pinned package `tzdata` has them.

A machine's own zone files change with its updates: a replay on another one could end a day at another instant, and
decide otherwise. So they are never read, whatever PYTHONTZPATH or the system says.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib import resources
from typing import Final
from zoneinfo import ZoneInfo

# There are some 600 names.
_KEPT: Final = 1_024
_PACKAGE: Final = "tzdata"


class UnknownZoneError(ValueError):
    """No zone has this name."""


@cache
def zone_names() -> frozenset[str]:
    """All names of IANA time zones, links included."""
    return frozenset(resources.files(_PACKAGE).joinpath("zones").read_text("utf-8").split())


@lru_cache(maxsize=_KEPT)
def zone_of(name: str) -> ZoneInfo:
    """The IANA time zone of this name. Raises UnknownZoneError.

    >>> zone_of("Europe/Berlin").key
    'Europe/Berlin'
    """
    if name not in zone_names():
        raise UnknownZoneError(f"{name!r} is not an IANA time zone, such as Europe/Berlin")
    with resources.files(_PACKAGE).joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)
