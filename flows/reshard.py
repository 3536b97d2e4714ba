"""Another number of shards, or of partitions, for the state of a flow that is stopped: the new state or the old one."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from math import gcd
from pathlib import Path
from typing import Final, NamedTuple

from flows.logic.campaigns.reshard import reshard
from flows.logic.campaigns.shard import CampaignShard
from flows.newest import newest
from flows.place import Place, must_hold
from flows.room import MARGIN_BYTES, free_bytes
from flows.seed import Seed, write_seed
from flows.snapshots.files import FOLDER as STATE
from flows.snapshots.framed import sync_folder
from flows.snapshots.id_files import FOLDER as IDS
from flows.snapshots.shard import ShardFiles
from flows.stages import ShardSettings
from flows.store import StoreSettings, exchange, make_empty, next_of, read_settings
from schemas.log import Log
from schemas.topics import CONTROL, CORRECTIONS, EVENTS, ORDER

# Bytes of an id in files, at most: base and segments.
_ID_BYTES_MAX: Final = 3 * 8
_MIB: Final = 2**20


class CannotReshardError(Exception):
    """Why the state cannot become what was asked for; the message says what to do."""


class Opened(NamedTuple):
    """The state of a store."""

    settings: StoreSettings
    places: dict[int, Place]
    shards: list[CampaignShard]


def _told(_: str) -> None:
    """Nobody is told."""


def open_state(folder: Path, log: Log, dedupe_ids: int) -> Opened:
    """The state that the flow would go on from. Raises CannotReshardError, LogBehindError, StateDamagedError."""
    settings = read_settings(folder)
    if settings is None:
        raise CannotReshardError(
            f"there is no state in {folder}: it is made when the flow first starts. The state of several machines "
            "(recovery-0, recovery-1, ...) is first put into one folder (docs/cluster.md)"
        )
    if settings.log != log.identity():
        raise CannotReshardError(
            f"{folder} was made from another log ({settings.log or 'unknown'}) than the one here ({log.identity()}). "
            "Bring that log back"
        )
    found = newest(folder, settings.partitions)
    lacking = set(range(settings.shards)) - found.shards.keys()
    if lacking or not found.places:
        raise CannotReshardError(
            f"{folder} has no whole snapshot yet (shards {sorted(lacking)} are missing). Start the flow with "
            f"PENSTOCK_SHARDS={settings.shards}, and stop it after an epoch"
        )
    for partition, place in found.places.items():
        if partition < log.partitions(EVENTS):
            must_hold(log, partition, place)
    own = ShardSettings(settings.shards, settings.partitions, dedupe_ids, folder)
    return Opened(settings, found.places, [_load(shard, found.shards[shard], own) for shard in range(settings.shards)])


def _load(shard: int, packed: bytes, own: ShardSettings) -> CampaignShard:
    duplicates, files = own.duplicates(), own.files(shard)
    assert files is not None, "a store has a folder"
    state = files.load(packed, duplicates)
    return CampaignShard.restore(state, shard, own.shards, own.partitions, duplicates=duplicates)


def reshard_store(
    folder: Path,
    log: Log,
    *,
    shards: int,
    dedupe_ids: int,
    now_ms: int,
    undrained: bool = False,
    tell: Callable[[str], None] = _told,
    free: Callable[[Path], int] = free_bytes,
) -> Path:
    """Give the store so many shards, and the partitions that the log has; returns where the old one is now.

    Nobody may work on the store. `undrained`: events that were not read may be in partitions that are not their
    campaigns' home any more. A kill leaves the old store or the new one. `tell` is told each step before it is done.
    Raises CannotReshardError, LogBehindError, StateDamagedError, TooLargeError, and OSError when the disk is full.
    """
    tell("reads the newest snapshots")
    opened = open_state(folder, log, dedupe_ids)
    partitions = log.partitions(EVENTS)
    if partitions != opened.settings.partitions:
        _must_be_drained(log, opened, partitions, undrained=undrained)
    _must_have_room(folder, opened, shards, partitions, dedupe_ids, free)
    tell("makes the new store")
    made = next_of(folder, whole=False)
    settings = StoreSettings(shards, partitions, log.identity())
    make_empty(made, settings, parts=len(list(folder.glob("part-*.sqlite3"))))
    own = ShardSettings(shards, partitions, dedupe_ids, made)
    kept = {}
    for shard in range(shards):
        tell(f"writes shard {shard}")
        kept[shard] = _save(reshard(opened.shards, shard, shards, own.duplicates()), made)
    tell("writes the places")
    write_seed(made, Seed(places=places_now(opened.places, opened.settings.partitions, log, partitions), shards=kept))
    _make_durable(made)
    return exchange(folder, made, now_ms, tell)


class ShownPlace(NamedTuple):
    """How far a partition was read, and what the log clock showed then, in UTC."""

    partition: int
    events: int
    end: int
    clock: str


class ShownShard(NamedTuple):
    """What a shard holds."""

    shard: int
    campaigns: int
    defined: int
    series: int
    windows: int
    ids: int
    state_bytes: int
    id_bytes: int


class Shown(NamedTuple):
    """What a store holds, for people."""

    folder: str
    shards: int
    partitions: int
    version: int
    log: str
    places: list[ShownPlace]
    of_shards: list[ShownShard]


def shown(folder: Path, log: Log, dedupe_ids: int) -> Shown:
    """What the store of a stopped flow holds. Raises as `open_state` does."""
    settings, places, shards = open_state(folder, log, dedupe_ids)
    return Shown(
        str(folder),
        settings.shards,
        settings.partitions,
        settings.state_format,
        settings.log,
        [_shown_place(partition, place, log) for partition, place in sorted(places.items())],
        [_shown_shard(shard, folder) for shard in shards],
    )


def _shown_place(partition: int, place: Place, log: Log) -> ShownPlace:
    end = log.end(EVENTS, partition) if partition < log.partitions(EVENTS) else place.events
    clock = datetime.fromtimestamp(place.now_ms / 1_000, UTC).isoformat(timespec="milliseconds")
    return ShownPlace(partition, place.events, end, clock)


def _shown_shard(shard: CampaignShard, folder: Path) -> ShownShard:
    header, number = shard.arrays.header, str(shard.shard)
    return ShownShard(
        shard.shard,
        len(shard.registry.campaigns),
        len(shard.registry.defined),
        shard.registry.series_count,
        int(header["windows_end"] - header["windows_free"]),
        sum(len(memory.seen) for memory in shard.duplicates.memories.values()),
        _size(folder / STATE / number),
        _size(folder / IDS / number),
    )


def _save(shard: CampaignShard, folder: Path) -> bytes:
    return ShardFiles(folder, shard.shard).save(shard.snapshot(copied=False, with_ids=False), shard.duplicates)


def places_now(places: dict[int, Place], before: int, log: Log, partitions: int) -> dict[int, Place]:
    """Where each partition goes on.

    New ones begin at their first event, with the clock of those that there were. A campaign whose home is another one
    now may not miss what people have set: all read `control` from where the one furthest behind was.
    """
    if partitions == before:
        return places
    control = min(place.control for place in places.values())
    clock_ms, latest_ms = (
        max(times) for times in zip(*((p.now_ms, p.latest_ms) for p in places.values()), strict=True)
    )
    fresh = Place(0, 0, control, clock_ms, latest_ms)
    found = {}
    for partition in range(partitions):
        begins = fresh._replace(events=log.begin(EVENTS, partition), order=log.begin(ORDER, partition))
        found[partition] = places.get(partition, begins)._replace(control=max(control, log.begin(CONTROL, 0)))
    return found


def _must_be_drained(log: Log, opened: Opened, partitions: int, *, undrained: bool) -> None:
    """What waits in a partition that is not its campaign's home any more would come in no order that is written."""
    for partition, place in opened.places.items():
        if partition >= partitions:
            continue
        known = ((EVENTS, place.events), (ORDER, place.order), (CORRECTIONS, max(place.corrections, 0)))
        for topic, offset in known:
            end = log.end(topic, partition)
            if offset < end and not undrained:
                raise CannotReshardError(
                    f"the log has {partitions} partitions and the state {opened.settings.partitions}, but {topic}/"
                    f"{partition} is not read to its end ({offset} of {end}). Let the flow read all of it before the "
                    "number of partitions changes, or take --undrained (docs/cluster.md says what that costs)"
                )


def _must_have_room(
    folder: Path, opened: Opened, shards: int, partitions: int, dedupe_ids: int, free: Callable[[Path], int]
) -> None:
    before = opened.settings
    copies = shards // gcd(before.shards, shards) * (partitions // gcd(before.partitions, partitions))
    ids = min(copies * _size(folder / IDS), shards * dedupe_ids * _ID_BYTES_MAX)
    need = MARGIN_BYTES + ids + 2 * _size(folder / STATE) + 2 * sum(f.stat().st_size for f in folder.glob("part-*"))
    if (there := free(folder)) < need:
        raise CannotReshardError(
            f"the new state may take {need // _MIB} MiB beside the old one, and {there // _MIB} MiB are free on the "
            f"disk of {folder}: free some"
        )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _make_durable(folder: Path) -> None:
    """Files of state are durable already; here are those that Bytewax made, and all names."""
    for path in folder.iterdir():
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            sync_folder(path)
