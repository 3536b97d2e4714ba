"""Slots given back: series and campaigns forgotten, tables and texts put in order behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.logic.campaigns.series_slots import (
    FREE,
    OTHERS_BYTES,
    SERIES_END,
    SERIES_FREE,
    SERIES_USED,
    TEXT_DEAD,
    TEXT_END,
    UNKNOWN,
    Index,
    Seen,
    after,
    copy_text,
    place_in,
)
from flows.logic.windows.layout import Hash, Int
from flows.logic.windows.unowned import inlined
from schemas.decode.kernel import kernel


@inlined
def _remove(table: Any, rows: Any, slot: Int, spread: Hash) -> None:
    """Take a slot out of a hash table; those behind it move up, so that no look-up ends before them."""
    hole = place_in(table, rows[slot].hash, spread)
    while table[hole] != slot:
        hole = after(table, hole)
    place = after(table, hole)
    while table[place] >= 0:
        home = place_in(table, rows[table[place]].hash, spread)
        # Whether its home is not in (hole, place], going around.
        if (place - home) & (table.shape[0] - 1) >= (place - hole) & (table.shape[0] - 1):
            table[hole] = table[place]
            hole = place
        place = after(table, place)
    table[hole] = -1


@kernel
def free_series(x: Index, slots: NDArray[np.int64]) -> None:
    """Forget series."""
    for slot in slots:
        row = x.series[slot]
        _remove(x.series_table, x.series, slot, x.spread)
        campaign = x.campaigns[row.campaign]
        campaign.series -= 1
        x.organisations[campaign.organisation].series -= 1
        if campaign.other == slot:
            campaign.other = FREE
        else:
            x.marks[TEXT_DEAD] += np.int64(row.total)
        row.campaign = FREE
        x.marks[SERIES_USED] -= 1
        x.free[x.marks[SERIES_FREE]] = slot
        x.marks[SERIES_FREE] += 1


@kernel
def put_campaign(x: Index, slot: Int) -> None:
    """Put a campaign's slot into the table."""
    place = place_in(x.campaign_table, x.campaigns[slot].hash, x.spread)
    while x.campaign_table[place] >= 0:
        place = after(x.campaign_table, place)
    x.campaign_table[place] = slot


@kernel
def remove_campaign(x: Index, slot: Int) -> None:
    """Take a campaign's slot out of the table."""
    _remove(x.campaign_table, x.campaigns, slot, x.spread)


@kernel
def forget(x: Index, seen: Seen) -> None:
    """Codes of what was freed, or had no room, are looked up again."""
    for code in range(seen.slot.shape[0]):
        slot = seen.slot[code]
        if slot < 0 or x.series[slot].campaign < 0:
            seen.slot[code] = UNKNOWN
    for code in range(seen.campaign.shape[0]):
        slot = seen.campaign[code]
        if slot < 0 or x.campaigns[slot].organisation < 0:
            seen.campaign[code] = UNKNOWN
    for code in range(seen.organisation.shape[0]):
        slot = seen.organisation[code]
        if slot < 0 or x.organisations[slot].length < 0:
            seen.organisation[code] = UNKNOWN


@kernel
def put_slots(rows: Any, used: NDArray[np.bool_], table: NDArray[np.int32], spread: Hash) -> None:
    """Fill an empty hash table with the used slots."""
    for slot in range(used.shape[0]):
        if used[slot]:
            place = place_in(table, rows[slot].hash, spread)
            while table[place] >= 0:
                place = after(table, place)
            table[place] = slot


@kernel
def compact(x: Index, organisations: Int, campaigns: Int, text: Int) -> None:
    """Copy the texts that belong to somebody to an address behind each other; OTHERS stay at the beginning."""
    copy_text(x.text, text, OTHERS_BYTES)
    end = np.int64(OTHERS_BYTES)
    for slot in range(organisations):
        owner = x.organisations[slot]
        if owner.length >= 0:
            copy_text(x.text + owner.start, text + end, np.int64(owner.length))
            owner.start = end
            end += np.int64(owner.length)
    for slot in range(campaigns):
        campaign = x.campaigns[slot]
        if campaign.organisation >= 0:
            copy_text(x.text + campaign.start, text + end, np.int64(campaign.length))
            campaign.start = end
            end += np.int64(campaign.length)
    for slot in range(x.marks[SERIES_END]):
        row = x.series[slot]
        if row.campaign >= 0 and row.start != 0:
            copy_text(x.text + row.start, text + end, np.int64(row.total))
            row.start = end
            end += np.int64(row.total)
    x.marks[TEXT_END] = end
    x.marks[TEXT_DEAD] = 0
