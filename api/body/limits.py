"""How much of a body a route takes, and for how long it waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """Bounds of one route's bodies."""

    # Of the body as it comes and, separately, of what it is once decompressed.
    bytes_max: int
    # From the first wait to the last byte; no pause between two pieces may be longer than idle_s.
    whole_s: float
    idle_s: float = 10.0


# Of events in one request. 8 MiB are some 30,000 events; a sender with more sends more requests.
BODY_BYTES_MAX: Final = 8 * 2**20
# 8 MiB within a minute are 1.1 Mbit/s: less is a phone's worst network, and its events are fewer.
EVENTS: Final = BodyLimit(BODY_BYTES_MAX, whole_s=60.0)
# A definition with its creatives. Its record in topic `control` has to stay under the megabyte that Kafka takes.
DEFINITION: Final = BodyLimit(960 * 1024, whole_s=30.0)
# A pause with a note of a thousand characters has 13 KB at most; what nests too deep should hear that of itself.
WORD: Final = BodyLimit(256 * 1024, whole_s=10.0)
# A thousand corrections with notes of 500 characters.
CORRECTIONS: Final = BodyLimit(2 * 2**20, whole_s=30.0)
# The largest bid requests of real exchanges are a few kilobytes, and an exchange waits for 100 ms.
BID: Final = BodyLimit(256 * 1024, whole_s=5.0, idle_s=2.0)
