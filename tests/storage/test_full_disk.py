"""An insert that is acknowledged is on disk, however full the disk is; one that is not there is refused."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import ClickHouseError

from storage.client import Client, connect
from storage.insert import insert
from tests.support.chdb_service import ChdbService
from tests.support.needs import need

DISK_BYTES = 64 * 2**20
TABLE = """CREATE TABLE penstock.t (id UInt64, s String, z String DEFAULT 'z') ENGINE = MergeTree ORDER BY id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
    need(mounted, "a small disk needs leave to mount a tmpfs")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def leave_free(disk: Path, free: int) -> None:
    """Fill the disk up to so many bytes."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    found = os.statvfs(disk)
    with filler.open("wb") as file:
        file.write(bytes(max(0, found.f_bavail * found.f_frsize - free)))


def rows(start: int, count: int, *, compressible: bool) -> pa.Table:
    """Rows with their own ids, 100 bytes each."""
    chance = np.random.default_rng(start)
    text = ["x" * 100 if compressible else chance.bytes(50).hex() for _ in range(count)]
    return pa.table({"id": pa.array(range(start, start + count), pa.uint64()), "s": pa.array(text)})


def as_rows(client: Client, table: pa.Table) -> None:
    """As the store inserts."""
    assert insert(client, "t", table) == table.num_rows


def as_values(client: Client, table: pa.Table) -> None:
    """As a person inserts."""
    pairs = ", ".join(f"({row['id']}, '{row['s']}')" for row in table.to_pylist())
    client.command(f"INSERT INTO t (id, s) VALUES {pairs}")


@pytest.mark.parametrize("way", [as_rows, as_values])
@pytest.mark.parametrize("left_kib", [(300, 64, 0), (1024, 700), (3000, 1400)], ids=["none", "some", "more"])
def test_what_is_acknowledged_on_a_full_disk_stays_after_a_kill(
    small_disk: Path, left_kib: tuple[int, ...], way: object
) -> None:
    """With less and less room one after another, and the kill where there is least."""
    service = ChdbService(small_disk)
    service.start()
    try:
        acknowledged: set[int] = set()
        with connect(service.url("penstock")) as client:
            client.command(TABLE)
            as_rows(client, rows(0, 100, compressible=False))
            acknowledged.update(range(100))
            for attempt in range(1, 12 * len(left_kib) + 1):
                if attempt % 12 == 1:
                    leave_free(small_disk, left_kib[attempt // 12] * 1024)
                count = (10, 500, 5_000)[attempt % 3]
                table = rows(attempt * 10_000, count, compressible=attempt % 2 == 0)
                try:
                    way(client, table)  # type: ignore[operator]
                except ClickHouseError:
                    continue
                acknowledged.update(table["id"].to_pylist())
        service.kill()
        (small_disk / "filler").unlink()
        service.start()
        with connect(service.url("penstock")) as client:
            found = [row[0] for row in client.query("SELECT id FROM t ORDER BY id").result_rows]
            assert client.query("SELECT count() FROM t WHERE z != 'z'").result_rows == [(0,)]
        assert sorted(acknowledged - set(found)) == [], "acknowledged, and lost"
        assert found == sorted(acknowledged), "refused, and there all the same"
    finally:
        service.kill()
