r"""Time in the written order: what becomes of it, and of what is counted, when the machine's clock is set.

wall      ____/----\____      a leap ahead that does not last: not followed
written   ______________
wall      ____/---------      one that lasts: followed when it has lasted for BELIEVED_S
written   _________/----
wall      ----\_________      set back: time goes on by the monotonic clock until the wall has caught up
written   ______________
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from flows.clock import BELIEVED_S, WrittenClock
from flows.logic.campaigns.shard import CampaignShard
from flows.logic.step import Output, Step
from flows.metrics import Meter
from flows.source import EventsPartition, EventsSource, Place, SourceOptions
from flows.stages import decoder
from schemas.dead_letters import DeadLetter
from schemas.decisions import Decision
from schemas.kpis import ALLOWED_LATENESS_MS
from schemas.topics import EVENTS
from tests.flows.logic.stream import windows_of
from tests.support.flow_runs import define
from tests.support.memory_log import MemoryLog

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NOON = round(datetime(2026, 4, 15, 12, tzinfo=UTC).timestamp() * 1_000)
BEFORE_MIDNIGHT = NOON + 11 * HOUR_MS + 30 * 60_000
STEP_MS = 250
# The busiest scenario takes a minute of the machine's clock to go wrong and to be set right again.
LEAP = 60


@dataclass
class Machine:
    """A clock that is `wrong_ms` ahead of the truth; the monotonic one stands still while the machine does."""

    true_ms: int
    wrong_ms: int = 0
    mono_ms: int = 5_000_000

    def wall_ms(self) -> int:
        return self.true_ms + self.wrong_ms

    def mono_s(self) -> float:
        return self.mono_ms / 1_000

    def pass_(self, ms: int) -> None:
        self.true_ms += ms
        self.mono_ms += ms

    def stand_still(self, ms: int) -> None:
        """As a virtual machine that is paused: its monotonic clock does not know of it."""
        self.true_ms += ms


@dataclass
class Rig:
    """The flow without Bytewax, on a machine whose clock a test sets."""

    machine: Machine
    log: MemoryLog = field(default_factory=MemoryLog)
    outputs: list[Output] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    ticks_s: list[float] = field(default_factory=list)
    ticks_ms: list[int] = field(default_factory=list)
    sent: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.campaigns = CampaignShard(0, 1, 1)
        self.start(None)

    def start(self, place: Place | None) -> None:
        """A flow that goes on from a place, with the state it has."""
        source = EventsSource(self.log, self.machine, Meter(), SourceOptions(), lambda: False)
        self.part: EventsPartition = source.build_part("events", "0", place)
        self.decode = decoder(1, Meter())

    def run(self, seconds: float, *, by_wall: bool = True, cost: int = 1) -> Rig:
        """An event each half second, stamped by this machine's clock or by one that is right."""
        for _ in range(round(1_000 * seconds / STEP_MS)):
            self.machine.pass_(STEP_MS)
            if self.machine.mono_ms % 500 == 0:
                self.send(self.machine.wall_ms() if by_wall else self.machine.true_ms, cost)
            while items := self.part.next_batch():
                for item in items:
                    self.take(item)
        return self

    def send(self, ts_ms: int, cost: int) -> None:
        line = '{"event_id":"e%d","type":"impression","ts":%d,"campaign_id":"c","cost_micros":%d}'
        self.log.append(EVENTS, 0, [(line % (len(self.sent), ts_ms, cost)).encode()])
        self.sent.append((ts_ms, cost))

    def take(self, item: object) -> None:
        decoded = self.decode(item)  # type: ignore[arg-type]
        self.dead += decoded.dead
        for step in decoded.steps:
            if isinstance(item, Step) and item.tick:
                self.ticks_s.append(self.machine.mono_s())
                self.ticks_ms.append(step.now_ms)
            self.outputs.append(self.campaigns.step(step))

    def by_day(self) -> dict[int, int]:
        """Impressions of the campaign by the day they were counted in."""
        self.outputs.append(self.campaigns.drain())
        found = windows_of([batch for output in self.outputs for batch in output.kpis])
        return {key[4]: numbers[1] for key, numbers in found.items() if key[1] == "campaign" and key[3] == "day"}

    def decisions(self) -> list[Decision]:
        return [decision for output in self.outputs for decision in output.decisions]

    def check(self) -> None:
        """What holds whatever the clock did, as long as the flow ran."""
        self.check_time()
        self.check_counts()

    def check_time(self) -> None:
        gaps_s = [after - before for before, after in zip(self.ticks_s, self.ticks_s[1:], strict=False)]
        assert max(gaps_s) <= 2.0, "ticks never stop"
        passed_s = self.ticks_s[-1] - self.ticks_s[0]
        assert self.ticks_ms == sorted(set(self.ticks_ms)), "time never goes back"
        assert self.ticks_ms[-1] - self.ticks_ms[0] >= 1_000 * passed_s - 1, "nor slower than it passes"

    def check_counts(self) -> None:
        assert self.dead == [], "nothing is refused"
        judged = sum(v.next_offset - v.first_offset for output in self.outputs for v in output.verdicts)
        assert judged == self.log.end(EVENTS, 0), "everything is judged"
        expected: dict[int, int] = {}
        closed = 0
        for ts_ms, _ in self.sent:
            day_ms = ts_ms - ts_ms % DAY_MS
            if day_ms + DAY_MS + ALLOWED_LATENESS_MS <= self.ticks_ms[0]:
                closed += 1
            else:
                expected[day_ms] = expected.get(day_ms, 0) + 1
        assert self.by_day() == expected, "everything counts in its day"
        late = sum(len(v.late) for output in self.outputs for v in output.verdicts)
        assert late >= closed, "what belongs to a closed day is stored as late, for the store to count"


def begun(true_ms: int, wrong_ms: int = 0) -> Rig:
    rig = Rig(Machine(true_ms, wrong_ms))
    define(rig.log, "c", daily_budget_micros=400)
    return rig


@pytest.mark.parametrize("by_wall", [True, False], ids=["stamped here", "stamped elsewhere"])
@pytest.mark.parametrize("start_ms", [NOON, BEFORE_MIDNIGHT], ids=["at noon", "before midnight"])
@pytest.mark.parametrize("leap_ms", [HOUR_MS, DAY_MS, -HOUR_MS, -DAY_MS], ids=["+1 h", "+1 day", "-1 h", "-1 day"])
def test_a_clock_that_was_wrong_for_a_minute_changes_nothing(leap_ms: int, start_ms: int, by_wall: bool) -> None:
    rig = begun(start_ms).run(30, by_wall=by_wall)
    rig.machine.wrong_ms = leap_ms
    rig.run(LEAP, by_wall=by_wall)
    rig.machine.wrong_ms = 0
    rig.run(300, by_wall=by_wall)
    rig.check()
    lead_ms = rig.ticks_ms[-1] - rig.machine.true_ms
    assert abs(lead_ms) < 2_000, "the written clock is where it was"
    spent_here = [ts for ts, _ in rig.sent if ts // DAY_MS == start_ms // DAY_MS]
    pauses = [d for d in rig.decisions() if d.kind == "pause"]
    assert [d.ts_ms for d in pauses] == spent_here[399:400], "the budget of the day holds at its event"
    assert [d.kind for d in rig.decisions()].count("resume") == 0, "no day began early"


@pytest.mark.parametrize("ahead_ms", [HOUR_MS, DAY_MS], ids=["1 h", "1 day"])
def test_a_machine_that_stood_still_has_its_time_back_when_the_leap_has_lasted(ahead_ms: int) -> None:
    rig = begun(NOON).run(210)
    assert [d.kind for d in rig.decisions()] == ["pause"]
    rig.machine.stand_still(ahead_ms)
    rig.run(BELIEVED_S - 5)
    assert rig.ticks_ms[-1] < rig.machine.true_ms - ahead_ms + 5_000
    rig.run(30)
    assert rig.machine.true_ms - rig.ticks_ms[-1] < 2_000
    rig.check()
    kinds = [d.kind for d in rig.decisions()]
    assert kinds == (["pause", "resume"] if ahead_ms == DAY_MS else ["pause"])


def test_a_process_that_stood_still_has_its_time_back_at_once() -> None:
    rig = begun(NOON).run(30)
    rig.machine.pass_(HOUR_MS)
    rig.run(2)
    assert rig.machine.true_ms - rig.ticks_ms[-1] < 2_000


@pytest.mark.parametrize("down_s", [1, 300])
def test_a_flow_that_starts_with_a_clock_an_hour_behind_its_journal_goes_on_from_there(down_s: int) -> None:
    rig = begun(NOON).run(30)
    place = rig.part.snapshot()
    last_ms = rig.ticks_ms[-1]
    rig.machine.pass_(1_000 * down_s)
    rig.machine.wrong_ms = -HOUR_MS
    rig.ticks_s.clear()
    rig.start(place)
    rig.run(60)
    assert 59_000 <= rig.ticks_ms[-1] - last_ms <= 62_000
    rig.machine.wrong_ms = 0
    rig.run(60)
    assert rig.machine.true_ms - rig.ticks_ms[-1] < 1_000 * down_s + 2_000
    rig.check_counts()


def test_a_fresh_flow_with_a_clock_an_hour_behind_is_set_right() -> None:
    rig = begun(NOON, -HOUR_MS).run(30)
    rig.machine.wrong_ms = 0
    rig.run(BELIEVED_S + 10)
    rig.check()
    assert rig.machine.true_ms - rig.ticks_ms[-1] < 2_000


def test_a_replay_of_a_journal_with_leaps_decides_the_same() -> None:
    rig = begun(NOON).run(30)
    for wrong_ms in (DAY_MS, 0, HOUR_MS):
        rig.machine.wrong_ms = wrong_ms
        rig.run(LEAP)
    again = Rig(Machine(NOON + 40 * DAY_MS), log=rig.log)
    source = EventsSource(rig.log, again.machine, Meter(), SourceOptions(journals=False), lambda: False)
    again.part = source.build_part("events", "0", None)
    while items := again.part.next_batch():
        for item in items:
            again.take(item)
    assert again.decisions() == rig.decisions()
    assert again.dead == []
    assert again.by_day() == rig.by_day()


def test_the_written_clock_follows_a_wall_clock_that_is_corrected_by_little() -> None:
    machine = Machine(NOON)
    written = WrittenClock(machine)
    written.start(0)
    machine.pass_(1_000)
    machine.wrong_ms = 400
    assert written.read().now_ms == NOON + 1_400
    machine.wrong_ms = 0
    assert written.read().now_ms == NOON + 1_400
    machine.pass_(1_000)
    assert written.read().now_ms == NOON + 2_400
