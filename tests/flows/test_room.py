"""The flow waits for room on the disk of its state."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.metrics import Meter
from flows.room import MARGIN_BYTES, Room, free_bytes


class Disk:
    """A disk whose free bytes are given look by look."""

    def __init__(self, *free: int) -> None:
        self._free = list(free)
        self.waits = 0
        self.meter = Meter()
        self.told: list[str] = []
        self.stopping = False
        self.room = Room(Path("state"), self.meter, lambda: self.stopping, lambda _: self._free.pop(0), self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.told.append(self.meter.loop.blocked)


def test_with_room_nobody_waits() -> None:
    disk = Disk(MARGIN_BYTES)
    disk.room.wait()
    assert disk.told == []


def test_without_room_it_waits_and_says_how_much_is_wanted() -> None:
    disk = Disk(1_000_000, 1_000_000, MARGIN_BYTES)
    disk.room.wait()
    assert (
        disk.told
        == ["room on the disk of state: 0 MiB are free and a snapshot of the state may take 16 MiB; free some"] * 2
    )
    assert disk.meter.loop.blocked == ""


def test_a_large_state_wants_room_for_its_snapshot_twice() -> None:
    disk = Disk(MARGIN_BYTES + 599, MARGIN_BYTES + 600)
    disk.meter.kept("dedupe", 0, 100)
    disk.meter.kept("dedupe", 0, 200)
    disk.meter.kept("campaigns", 0, 100)
    disk.room.wait()
    assert len(disk.told) == 1


def test_told_to_stop_it_ends_without_a_snapshot_and_says_so() -> None:
    disk = Disk(0)
    disk.stopping = True
    with pytest.raises(RuntimeError, match="goes on from the last snapshot"):
        disk.room.wait()


def test_a_store_that_is_not_there_yet_is_asked_for_by_the_disk_of_its_folder(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "recovery") > 0
