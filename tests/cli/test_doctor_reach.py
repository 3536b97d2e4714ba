"""Doctor says how long ClickHouse may be away, computed from the log, and what snapshots take."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.doctor.reach import check_reach, check_recovery
from cli.settings import Settings
from cli.wiring import open_log
from schemas.topics import EVENTS, KPIS


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PENSTOCK_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("PENSTOCK_PARTITIONS", "1")
    return Settings()


def fill(settings: Settings) -> None:
    log = open_log(settings)
    for number in range(200):
        log.append(EVENTS, 0, [b'{"event_id":"e%d","type":"impression"}' % (number * 7_919 % 1_009) for _ in range(50)])
        log.append(KPIS, 0, [b'{"columns":"%d"}' % (number**9)])
    log.close()


def test_an_empty_log_is_well(settings: Settings) -> None:
    finding = check_reach(settings)
    assert finding.ok
    assert "nothing was written" in finding.seen


def test_a_log_that_reaches_far_is_told_in_hours(settings: Settings) -> None:
    fill(settings)
    finding = check_reach(settings)
    assert finding.ok, finding
    assert "ClickHouse may be away for 168 h" in finding.seen


def test_a_log_that_is_full_too_soon_is_wrong_and_the_mend_names_the_size(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(settings)
    monkeypatch.setenv("PENSTOCK_LOG_RETENTION_BYTES", "10000")
    finding = check_reach(Settings())
    assert not finding.ok
    assert "the narrowest topic is" in finding.seen
    assert "raise PENSTOCK_LOG_RETENTION_BYTES: 168 h need" in finding.mend


def test_the_size_of_the_recovery_store_is_shown(settings: Settings, tmp_path: Path) -> None:
    assert check_recovery(settings) == []
    (tmp_path / "recovery").mkdir()
    (tmp_path / "recovery" / "part-0.sqlite3").write_bytes(b"x" * 2_048)
    (finding,) = check_recovery(settings)
    assert (finding.part, finding.ok) == ("recovery store", True)
    assert "2.0 KiB of snapshots" in finding.seen
