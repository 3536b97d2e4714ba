"""Campaigns nobody defined: how many new ones a sender may bring in an hour.

Whatever counts events keeps something for every campaign, defined or not. A sender with a wrong template in its tags
names a new campaign in every event; the hour's first names go through, the rest is refused line by line and kept as
dead letters, to be replayed once the mistake is mended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

# New names of one organisation in an hour. Who really brings more defines them first.
NEW_NAMES_MAX: Final = 5_000
# Names remembered of one organisation, about 100 bytes each.
KNOWN_MAX: Final = 50_000
HOUR_MS: Final = 3_600_000


class _Names:
    """One organisation's names of this hour and of the hour before."""

    def __init__(self, hour: int) -> None:
        self.hour = hour
        self.fresh = 0
        self.now: set[str] = set()
        self.before: set[str] = set()

    def turn(self, hour: int) -> None:
        """What was not heard of in the hour before is forgotten. A clock that steps back turns nothing."""
        if hour > self.hour:
            self.before = self.now if hour == self.hour + 1 else set()
            self.now, self.fresh, self.hour = set(), 0, hour


class NewNames:
    """Decides about campaign names; safe to use from several threads. As many parts as organisations with a key."""

    def __init__(
        self,
        is_defined: Callable[[str, str], bool],
        new_max: int = NEW_NAMES_MAX,
        known_max: int = KNOWN_MAX,
    ) -> None:
        self._is_defined = is_defined
        self._new_max = new_max
        self._known_max = known_max
        self._organisations: dict[str, _Names] = {}
        self._lock = threading.Lock()

    def takes(self, org_id: str, campaign_id: str, now_ms: int) -> bool:
        """May events of the campaign come in? Always when it is defined or was heard of lately."""
        if self._is_defined(org_id, campaign_id):
            return True
        with self._lock:
            names = self._organisations.setdefault(org_id, _Names(now_ms // HOUR_MS))
            names.turn(now_ms // HOUR_MS)
            if campaign_id in names.now:
                return True
            if campaign_id not in names.before:
                if names.fresh >= self._new_max or len(names.now) >= self._known_max:
                    return False
                names.fresh += 1
            names.now.add(campaign_id)
            return True
