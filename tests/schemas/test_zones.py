"""Days and hours of a campaign follow the pinned package's zones, whatever the machine has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tzdata

from schemas.zones import UnknownZoneError, zone_names, zone_of

PACKAGED = Path(tzdata.__file__).parent / "zoneinfo"
# 2026-07-01 12:30 UTC, a Wednesday: 14:30 in Berlin, 21:30 in Tokyo.
NOON_MS = 1_782_909_000_000
DECIDES = f"""
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from api.openrtb.auction import Circumstances, modifier
from bidding.forecast import hour_of_week
from flows.logic.budgets.periods import day_bounds
from ingest.market import traffic_factor
from schemas.campaigns import Campaign
from schemas.serving import Serving, at
from storage.store.zones import _plain
campaign = Campaign(id="a", name="A", currency="EUR", time_zone="Europe/Berlin")
now = {NOON_MS}
print(day_bounds("Europe/Berlin", now))
print(_plain("Europe/Berlin", now))
print(hour_of_week(now, "Europe/Berlin"))
print(modifier({{"hour=14": 2.0}}, Circumstances(None, None, None, None), now, "Europe/Berlin"))
print(at(Serving(org_id="o", campaign_id="a", day_parts=[62], time_zone="Europe/Berlin"), now).pacing_rate == 1.0)
print(round(traffic_factor(now, "Europe/Berlin"), 6))
print([name for name in opened if "zoneinfo" in name and "tzdata" not in name and not name.endswith(".pyc")])
"""


def decided(**variables: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", DECIDES], capture_output=True, text=True, env=dict(os.environ) | variables, timeout=120,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_zone_files_of_the_machine_are_not_read(tmp_path: Path) -> None:
    berlin = tmp_path / "Europe" / "Berlin"
    berlin.parent.mkdir()
    berlin.write_bytes((PACKAGED / "Asia" / "Tokyo").read_bytes())
    told = decided(PYTHONTZPATH=str(tmp_path))
    midnight = NOON_MS - (14 * 60 + 30) * 60_000
    assert told[:5] == [*[str((midnight, midnight + 86_400_000))] * 2, "62", "2.0", "True"]
    assert told[6] == "[]"
    assert told == decided()


@pytest.mark.parametrize(
    "name", ["Europe/Atlantis", "../../etc/passwd", "/usr/share/zoneinfo/UTC", "", "europe/berlin"]
)
def test_what_is_no_zone_is_told(name: str) -> None:
    with pytest.raises(UnknownZoneError, match="is not an IANA time zone"):
        zone_of(name)


def test_every_zone_of_the_package_can_be_had() -> None:
    assert len(zone_names()) > 500
    assert all(zone_of(name).key == name for name in zone_names())


def test_the_package_is_pinned_for_checkouts_and_wheels() -> None:
    root = Path(__file__).resolve().parents[2]
    pin = next(line for line in (root / "requirements.txt").read_text().splitlines() if line.startswith("tzdata"))
    assert pin.startswith("tzdata==")
    assert f'"{pin}"' in (root / "pyproject.toml").read_text()
