"""Corrections in a campaign shard: each once, into ledger, budgets, windows and bidding."""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from flows.logic.bidding.stage import BiddingStage
from flows.logic.budgets.ledger import Cause, Ledger
from flows.logic.campaigns.dedupe import Fingerprints, SeenIds
from flows.logic.campaigns.fold import APPLIED, CHANGE, LATE, NO_ROOM, REFUSED, Revisions, fold
from flows.logic.campaigns.registry import CampaignKey, Registry
from flows.logic.step import Output, Step
from flows.logic.windows import layout as at
from flows.logic.windows.arrays import Arrays
from schemas.corrections import Applied, Correction, Grain
from schemas.decode import decode_chunk
from schemas.decode.words import SPREAD
from schemas.events import TS_MS_MAX
from schemas.log import Chunk
from schemas.topics import CORRECTIONS

# Corrections of a home partition whose ids a shard remembers, of n organisations at least the last n-th part of each:
# an import of 100,000 lines that is sent again changes nothing. At most 21 bytes each, 8 in a snapshot.
IDS_MAX: Final = 262_144
# Organisations with memories of their own; later ones share the last.
_ORGANISATIONS_MAX: Final = 1_024


class _Kept(NamedTuple):
    """The ids of one home partition in a snapshot."""

    organisations: list[str]
    ids: list[Fingerprints]


class KnownIds:
    """Ids of corrections that came to a home partition, by organisation."""

    def __init__(self, ids_max: int = IDS_MAX, spread: int = int(SPREAD), kept: _Kept | None = None) -> None:
        self._numbers = {} if kept is None else {org_id: number for number, org_id in enumerate(kept.organisations)}
        self._seen = SeenIds(ids_max, spread) if kept is None else SeenIds.restore(kept.ids, ids_max, spread)

    def new_among(self, corrections: list[Correction]) -> list[Correction]:
        """Those that did not come before; remembers them."""
        digests = b"".join(
            hashlib.blake2b(correction.correction_id.encode(), digest_size=8).digest() for correction in corrections
        )
        owners = np.array([self._number(correction.org_id) for correction in corrections], np.int32)
        new = self._seen.mark_new(np.frombuffer(digests, np.uint64), owners)
        return [correction for correction, is_new in zip(corrections, new.tolist(), strict=True) if is_new]

    def _number(self, org_id: str) -> int:
        if org_id not in self._numbers and len(self._numbers) < _ORGANISATIONS_MAX:
            self._numbers[org_id] = len(self._numbers)
        return self._numbers.get(org_id, _ORGANISATIONS_MAX - 1)

    def kept(self) -> _Kept:
        """All that is remembered, in copies."""
        ids = [self._seen.kept(number) for number in range(len(self._seen.counts()))]
        return _Kept(list(self._numbers), ids)


class Corrections:
    """What corrections change in one campaign shard, and what it knows of them."""

    def __init__(
        self, arrays: Arrays, registry: Registry, ledger: Ledger, bidding: BiddingStage, spread: int = int(SPREAD)
    ) -> None:
        """`spread` has no influence on what is known: see `flows.logic.campaigns.dedupe`."""
        self._arrays = arrays
        self._registry = registry
        self._ledger = ledger
        self._bidding = bidding
        self._spread = spread
        self._known: dict[int, KnownIds] = {}
        # By window; none while there was no correction.
        self._revised: Revisions | None = None

    # -- in force -----------------------------------------------------------------------------------------------

    def apply(self, span: Step, output: Output) -> None:
        """Bring the corrections of a control point into force; all windows must be flushed."""
        known = self._known.setdefault(span.partition, KnownIds(spread=self._spread))
        new = known.new_among(span.corrections)
        output.corrections_again += len(span.corrections) - len(new)
        if not new:
            return
        slots = [self._registry.campaigns.get(CampaignKey(each.org_id, each.campaign_id)) for each in new]
        series = self._series(new, slots)
        applied = Applied(partition=span.partition, now_ms=span.now_ms, corrections=new, late=[], refused=[])
        for place, (correction, slot) in enumerate(zip(new, slots, strict=True)):
            outcome = LATE
            if slot is not None:
                outcome = self._apply_one(correction, slot, series[place], output)
            if outcome != APPLIED:
                (applied.late if outcome == LATE else applied.refused).append(place)
        output.applied.append(applied)

    def _apply_one(self, correction: Correction, slot: int, series: int, output: Output) -> int:
        row, clock_ms = self._arrays.campaign(slot), self._bidding.clock_ms(slot)
        if clock_ms >= row["boundary_ms"]:
            output.decisions += self._bidding.note(slot, self._ledger.rollover(slot, Cause(clock_ms)))
        before = self._bidding.counters(slot)
        # What is later than tomorrow is a wrong date.
        is_possible = correction.ts_ms < row["day_after_end_ms"]
        outcome = self._fold(correction, slot, series) if is_possible else REFUSED
        if outcome == REFUSED:
            return outcome
        self._bidding.corrected(slot, before)
        if correction.spend_micros != 0:
            named = f"{CORRECTIONS}/{correction.correction_id}"
            output.decisions += self._bidding.note(slot, self._ledger.corrected(slot, named))
        return outcome

    def _fold(self, correction: Correction, slot: int, series: int) -> int:
        change = np.array([_change_of(correction)], CHANGE)
        tier = at.DAY if correction.grain is Grain.DAY else at.TEN
        while True:
            state = self._arrays.state
            revisions = self._room(len(state.counters))
            outcome = int(fold(state, revisions, slot, series, tier, correction.ts_ms, change))
            if outcome != NO_ROOM:
                return outcome
            self._arrays.make_room()

    def _series(self, corrections: list[Correction], slots: list[int | None]) -> list[int]:
        """The slots of series that corrections name, made where they are new; FREE where none has an open window."""
        found = [at.FREE] * len(corrections)
        places = [
            place
            for place, (correction, slot) in enumerate(zip(corrections, slots, strict=True))
            if slot is not None and _has_series(self._arrays.campaign(slot), correction)
        ]
        if not places:
            return found
        # As events of these series come, so that they are the same series.
        lines = [_event_of(corrections[place]) for place in places]
        payload = b"".join(lines)
        decoded = decode_chunk(Chunk(CORRECTIONS, 0, payload, 0, len(payload)), now_ms=TS_MS_MAX)
        begins = np.cumsum([0, *map(len, lines[:-1])])
        of_row = {int(position): place for position, place in zip(begins, places, strict=True)}
        for position, series in zip(decoded.batch.position, self._registry.slots(decoded.batch), strict=True):
            found[of_row[int(position)]] = int(series)
        if len(added := self._registry.take_new_series()) > 0:
            self._arrays.add_series(added, self._registry.campaign_of_series(added))
        return found

    # -- versions -----------------------------------------------------------------------------------------------

    @property
    def revisions(self) -> Revisions | None:
        """By how much each window's version is ahead of the events in it; None while there was no correction."""
        return None if self._revised is None else self._room(len(self._arrays.state.counters))

    def _room(self, windows: int) -> Revisions:
        revised = np.zeros(0, np.int64) if self._revised is None else self._revised
        if len(revised) < windows:
            revised = np.concatenate([revised, np.zeros(windows - len(revised), np.int64)])
        self._revised = revised
        return revised

    def forget(self, windows: NDArray[np.integer[Any]] | int) -> None:
        """Windows were given back, and will be others."""
        if (revisions := self.revisions) is not None:
            revisions[windows] = 0

    # -- snapshot -----------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Ids by home partition, and the revisions of windows that have any."""
        revisions = np.zeros(0, np.int64) if self._revised is None else self._revised
        windows = np.flatnonzero(revisions)
        return {
            "ids": {partition: tuple(known.kept()) for partition, known in self._known.items()},
            "windows": windows,
            "revisions": revisions[windows],
            "any": self._revised is not None,
        }

    def load(self, snapshot: dict[str, Any]) -> None:
        """Take what a snapshot holds; nothing where it is of before there were corrections."""
        if not snapshot:
            return
        for partition, kept in snapshot["ids"].items():
            self._known[partition] = KnownIds(spread=self._spread, kept=_Kept(*kept))
        if snapshot["any"]:
            self._room(len(self._arrays.state.counters))[snapshot["windows"]] = snapshot["revisions"]


_encode = msgspec.json.Encoder().encode


def _change_of(correction: Correction) -> tuple[int, ...]:
    return (
        correction.impressions,
        correction.clicks,
        correction.conversions,
        correction.leads,
        correction.spend_micros,
        correction.revenue_micros,
    )


def _has_series(row: np.void, correction: Correction) -> bool:
    """Whether a correction changes its series: its day is open, and with it some window."""
    ts_ms = correction.ts_ms
    if correction.grain is Grain.DAY or ts_ms < row["day_before_start_ms"]:
        return False
    end_ms = row["day_start_ms"] if ts_ms < row["day_start_ms"] else row["day_end_ms"]
    return bool(ts_ms >= row["day_end_ms"] or end_ms + at.LATENESS_MS > row["watermark_ms"])


def _event_of(correction: Correction) -> bytes:
    """A line that decodes to the series of a correction."""
    event = {"event_id": "e", "type": "click", "ts": correction.ts_ms, "org_id": correction.org_id}
    names = ("campaign_id", "creative_id", "channel", "country", "device")
    return _encode(event | {name: text for name in names if (text := getattr(correction, name))}) + b"\n"
