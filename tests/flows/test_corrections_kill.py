"""Corrections and a flow that is killed again and again: each in force once, and a replay finds the same."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.corrections import Applied, Cause, Correction, Grain, correction_id, decode_applied, encode_correction
from schemas.events import DEFAULT_ORG
from schemas.log import Log
from schemas.topics import CORRECTIONS, CORRECTIONS_APPLIED, DECISIONS, EVENTS, ORDER, partition_of
from tests.support import flow_runs
from tests.support.flow_kills import PARTITIONS, STEP_DEADLINE_S, fresh_spec

CAMPAIGNS = [f"cmp-{number}" for number in range(flow_runs.CAMPAIGNS)]
LIVES = 5
EVENTS_A_LIFE = 6_000
CORRECTIONS_A_LIFE = 400

pytestmark = pytest.mark.slow


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Senders:
    """Events of the present and corrections of them, some sent twice, some for what nobody knows, some impossible."""

    def __init__(self, log: Log, rng: random.Random) -> None:
        self._log, self._rng = log, rng
        self._numbers = iter(range(10**9))
        # What was sent once, by id.
        self.events: dict[str, tuple[str, int]] = {}
        self.corrections: dict[str, Correction] = {}

    def send(self, events: int, corrections: int) -> None:
        """So many of each, mixed."""
        for _ in range(10):
            flow_runs.fill(self._log, iter([self._event() for _ in range(events // 10)]))
            for _ in range(corrections // 10):
                correction = self._correction()
                home = partition_of(correction.campaign_id, PARTITIONS)
                self._log.append(CORRECTIONS, home, [encode_correction(correction)])

    def _event(self) -> tuple[str, bytes]:
        campaign, cost, event_id = self._rng.choice(CAMPAIGNS), self._rng.randrange(9_000), f"e{next(self._numbers)}"
        self.events[event_id] = campaign, cost
        event = {
            "event_id": event_id, "type": "impression", "ts": now_ms() - self._rng.randrange(3_000),
            "campaign_id": campaign, "creative_id": self._rng.choice("xy"), "cost_micros": cost,
        }  # fmt: skip
        return campaign, json.dumps(event).encode()

    def _correction(self) -> Correction:
        rng = self._rng
        if self.corrections and rng.random() < 0.1:
            return rng.choice(list(self.corrections.values()))
        campaign = "nobody" if rng.random() < 0.03 else rng.choice(CAMPAIGNS)
        too_much = rng.random() < 0.03
        made = Correction(
            correction_id=correction_id(Cause.REFUND, DEFAULT_ORG, campaign, str(next(self._numbers))),
            org_id=DEFAULT_ORG,
            campaign_id=campaign,
            ts_ms=now_ms() - rng.choice((0, 1_000, 60_000)),
            cause=Cause.REFUND,
            grain=rng.choice(list(Grain)),
            creative_id=rng.choice("xyz"),
            impressions=rng.randrange(-3, 3),
            spend_micros=-(10**12) if too_much else rng.randrange(-20_000, 9_000),
        )
        self.corrections[made.correction_id] = made
        return made


def applied(log: Log) -> list[Applied]:
    return [decode_applied(record) for record in flow_runs.records(log, CORRECTIONS_APPLIED)]


def outcomes(log: Log) -> dict[str, tuple[int, str]]:
    """By id, when each came into force and how; what is written twice must say the same."""
    found: dict[str, tuple[int, str]] = {}
    for one in applied(log):
        for place, correction in enumerate(one.corrections):
            how = "refused" if place in one.refused else "late" if place in one.late else "applied"
            outcome = one.now_ms, how
            assert found.setdefault(correction.correction_id, outcome) == outcome, "it came into force twice"
    return found


def killed_lives(spec: Any, log: Log, senders: Senders, rng: random.Random) -> Iterator[int]:
    for life in range(LIVES):
        with subprocess.Popen(spec.command(), start_new_session=True) as flow:
            try:
                senders.send(EVENTS_A_LIFE, CORRECTIONS_A_LIFE)
                deadline, before = time.monotonic() + STEP_DEADLINE_S, len(outcomes(log))
                # At least one entry with corrections, then a moment of the work on it or on what follows.
                while len(outcomes(log)) == before:
                    assert flow.poll() is None, f"the flow ended by itself with code {flow.returncode}"
                    assert time.monotonic() < deadline, "no correction came into force"
                    time.sleep(0.002)
                time.sleep(rng.uniform(0.0, 0.8))
            finally:
                flow.kill()
        yield life


def totals(log: Log) -> dict[str, tuple[int, int]]:
    """Impressions and spend of all days of each campaign."""
    found: Counter[tuple[str, str]] = Counter()
    for key, value in flow_runs.windows(log).items():
        if key[2] == "campaign" and key[7] == "day":
            found[str(key[1]), "impressions"] += value[2]
            found[str(key[1]), "spend"] += value[6]
    return {campaign: (found[campaign, "impressions"], found[campaign, "spend"]) for campaign in CAMPAIGNS}


def expected_totals(senders: Senders, how: dict[str, tuple[int, str]]) -> dict[str, tuple[int, int]]:
    sums = {campaign: [0, 0] for campaign in CAMPAIGNS}
    for campaign, cost in senders.events.values():
        sums[campaign][0] += 1
        sums[campaign][1] += cost
    for key, correction in senders.corrections.items():
        if how[key][1] == "applied":
            sums[correction.campaign_id][0] += correction.impressions
            sums[correction.campaign_id][1] += correction.spend_micros
    return {campaign: (impressions, spend) for campaign, (impressions, spend) in sums.items()}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("processes", [1, 2], ids=["one process", "a cluster of two"])
def test_kills_bring_no_correction_into_force_twice_or_never_and_a_replay_finds_the_same(
    processes: int, tmp_path: Path
) -> None:
    rng = random.Random(f"corrections {processes}")
    spec = fresh_spec(tmp_path / "killed", "", processes)
    log = spec.open_log()
    flow_runs.define_all(log, daily_budget_micros=3_000_000)
    senders = Senders(log, rng)
    assert len(list(killed_lives(spec, log, senders, rng))) == LIVES
    subprocess.run(msgspec.structs.replace(spec, until_end=True).command(), check=True, timeout=STEP_DEADLINE_S)

    how = outcomes(log)
    assert how.keys() == senders.corrections.keys()
    assert {outcome for _, outcome in how.values()} == {"applied", "late", "refused"}
    late = {key for key, (_, outcome) in how.items() if outcome == "late"}
    assert {senders.corrections[key].campaign_id for key in late} == {"nobody"}
    assert totals(log) == expected_totals(senders, how)
    reasons = {msgspec.json.decode(record)["reason"] for record in flow_runs.records(log, DECISIONS)}
    assert "spend_corrected" in reasons

    replayed = msgspec.structs.replace(fresh_spec(tmp_path / "replay", ""), journals=False, until_end=True)
    other = replayed.open_log()
    flow_runs.copy(log, other, EVENTS, ORDER)
    subprocess.run(replayed.command(), check=True, timeout=STEP_DEADLINE_S)
    assert outcomes(other) == how
    assert decided(other) == decided(log)
    assert flow_runs.windows(other) == flow_runs.windows(log)
    log.close()
    other.close()


def decided(log: Log) -> dict[str, bytes]:
    """Decisions by id, with their sequence: byte for byte."""
    return {msgspec.json.decode(record)["decision_id"]: record for record in flow_runs.records(log, DECISIONS)}
