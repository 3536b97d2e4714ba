"""Ids of events and of corrections that a new shard takes over from old ones.

A fingerprint does not say of which campaign it is. But a shard is a hash modulo the number of shards, and a home
partition another modulo the number of partitions: a campaign can only have moved between numbers that are the same
modulo the greatest common divisor of both. A new memory takes over all ids of all memories that its campaigns may come
from; what is too much for it is forgotten, of each of K old ones at most what is beyond its last `ids_max / K`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Final, NamedTuple

import numpy as np

from flows.logic.campaigns.dedupe import Fingerprints, SeenIds
from flows.logic.campaigns.duplicates import ORGANISATIONS_MAX, Duplicates, Memory
from flows.logic.campaigns.registry import OTHER

# The last number is that of all later organisations together, in memories of corrections, too.
_OWN_MAX: Final = ORGANISATIONS_MAX - 1


class Known(NamedTuple):
    """Organisations by their numbers, and the ids of each in order of arrival."""

    organisations: list[str]
    ids: list[Fingerprints]


class Sources(NamedTuple):
    """Which old memories those of a new shard come from: so many shards and partitions before, `shard` of so many now.

    >>> list(Sources(4, 2, shard=1, shards=2, partitions=6).shards_of()), Sources(4, 2, 1, 2, 6).homes_of(5)
    ([1, 3], [1])
    """

    shards_before: int
    partitions_before: int
    shard: int
    shards: int
    partitions: int

    def shards_of(self) -> range:
        """The old shards."""
        common = gcd(self.shards_before, self.shards)
        return range(self.shard % common, self.shards_before, common)

    def homes_of(self, home: int) -> list[int]:
        """The old home partitions of a new one."""
        common = gcd(self.partitions_before, self.partitions)
        return list(range(home % common, self.partitions_before, common))


def join_ids(old: Sequence[Duplicates], sources: Sources, into: Duplicates) -> None:
    """Let a new shard remember the events that old ones did."""
    for home in range(into.partitions):
        known = [
            Known(memory.organisations, [memory.seen.kept(number) for number in range(len(memory.seen.counts()))])
            for shard in sources.shards_of()
            for other in sources.homes_of(home)
            if (memory := old[shard].memories.get(other)) is not None
        ]
        if known:
            organisations, ids = joined(known)
            seen = SeenIds.restore(ids, into.ids_max, into.spread)
            seen.unsettle()
            into.memories[home] = Memory(seen, organisations)


def join_correction_ids(old: Sequence[dict[int, Known]], sources: Sources) -> dict[int, Known]:
    """By home partition the ids of corrections that a new shard remembers, out of those that old ones did."""
    found = {}
    for home in range(sources.partitions):
        known = [
            Known(*old[shard][other])
            for shard in sources.shards_of()
            for other in sources.homes_of(home)
            if other in old[shard]
        ]
        if known:
            found[home] = joined(known)
    return found


def joined(known: list[Known]) -> Known:
    """The ids of several memories as one's."""
    names = _names(known)
    number = {org_id: place for place, org_id in enumerate(names)}
    last = len(names) - 1
    of_number: list[list[Fingerprints]] = [[] for _ in names]
    for one in known:
        for place, (org_id, ids) in enumerate(zip(one.organisations, one.ids, strict=False)):
            of_number[last if place == _OWN_MAX else number.get(org_id, last)].append(ids)
    return Known(names, [_newest_last(rings) for rings in of_number])


def _names(known: list[Known]) -> list[str]:
    """Organisations by their numbers.

    Where a memory was full, ids of those that came later are together under its last number, and so they stay: then
    only who had a number of its own in all full memories keeps one, and the others have the last.
    """
    lists = [one.organisations for one in known]
    every = list(dict.fromkeys(org_id for names in lists for org_id in names))
    full = [set(names[:_OWN_MAX]) for names in lists if len(names) == ORGANISATIONS_MAX]
    if not full and len(every) < ORGANISATIONS_MAX:
        return every
    own = [org_id for org_id in every if all(org_id in names for names in full)][:_OWN_MAX]
    # Names that nobody can have, so that whoever comes next has the last number.
    nobody = [f"{OTHER}-{place}" for place in range(ORGANISATIONS_MAX - len(own))]
    return own + nobody


def _newest_last(rings: list[Fingerprints]) -> Fingerprints:
    """The ids of several memories, each once: the newest of all at the end, before them the second newest of all."""
    if len(rings) == 1:
        return rings[0]
    ids = np.concatenate([*rings, np.empty(0, np.uint64)])
    age = np.concatenate([*(np.arange(len(ring))[::-1] for ring in rings), np.empty(0, np.int64)])
    newest_first = ids[np.argsort(age, kind="stable")]
    _, first = np.unique(newest_first, return_index=True)
    merged: Fingerprints = newest_first[np.sort(first)][::-1]
    return merged
