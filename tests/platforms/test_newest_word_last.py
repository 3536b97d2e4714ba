"""Whatever platforms answer, and however often the process is killed: each object ends on its newest word.

A platform here carries requests out late or not at all, answers or does not; requests of a killed process are still
carried out. Time moves by hand; the wall clock that a process starts with may be wrong.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from platforms.host import GROUP
from platforms.model import Applied, Outcome, Retry
from platforms.outbox import ATTEMPT_MS, SETTLES_MS, Outbox
from platforms.registry import ADAPTERS
from platforms.restore import restore
from platforms.sending import Object, Sending, Target
from schemas import topics
from schemas.campaigns import Campaign, PlatformLink
from schemas.decisions import Decision, Kind, decode_decision, encode_decision, named
from schemas.log import Chunk
from schemas.receipts import Receipt, encode_receipt
from tests.support.decisions import decision_of
from tests.support.memory_log import MemoryLog

TIMEOUT_MS: Final = 20_000
HOUR_MS: Final = 3_600_000
# Two campaigns of one account; they share an ad group, so what is sent for one waits for the other.
LINKS: Final = [
    PlatformLink(platform="tiktok", account_id="7", campaign_ref="1", ad_group_ref="g"),
    PlatformLink(platform="tiktok", account_id="7", campaign_ref="2", ad_group_ref="g"),
    PlatformLink(platform="linkedin", account_id="8", campaign_ref="3"),
]
CAMPAIGNS: Final = [
    Campaign(campaign_id=f"c{n}", name="c", currency="USD", platforms=[link]) for n, link in enumerate(LINKS)
]
KINDS: Final[list[tuple[Kind, dict[str, Any]]]] = [
    (Kind.PAUSE, {}),
    (Kind.RESUME, {}),
    (Kind.SET_BID, {"bid_micros": 2_000_000}),
    (Kind.SET_BUDGET, {"daily_budget_micros": 90_000_000}),
    (Kind.SET_BUDGET, {"daily_budget_micros": 80_000_000, "total_budget_micros": 900_000_000}),
]


@dataclass(frozen=True)
class Fate:
    """What becomes of a request: when it is answered (None: never), and when carried out (None: never)."""

    answer_ms: int | None
    applies_ms: int | None


FATES: Final = st.one_of(
    st.just(Fate(100, 50)),
    st.builds(lambda ms: Fate(ms, ms), st.integers(1, TIMEOUT_MS - 1)),
    # An answer that says no more than that something went wrong.
    st.builds(lambda ms: Fate(1_000, ms), st.none() | st.integers(1_000, 1_000 + SETTLES_MS - 1)),
    # No answer at all.
    st.builds(lambda ms: Fate(None, ms), st.none() | st.integers(1, TIMEOUT_MS + SETTLES_MS - 1)),
)


@dataclass
class World:
    """The log, one actuator at a time, and the platforms."""

    fates: list[Fate]
    log: MemoryLog = field(default_factory=MemoryLog)
    now_ms: int = 10**12
    events: list[tuple[int, int, Any]] = field(default_factory=list)
    platform: dict[Target, str] = field(default_factory=dict)
    newest: dict[Target, str] = field(default_factory=dict)
    # By how much the clock of the living process is wrong: the wall clock's error when it started.
    wrong_by_ms: int = 0
    # Objects with a request that the living process waits for.
    open_objects: set[Object] = field(default_factory=set)
    life: int = 0
    numbers: Any = field(default_factory=itertools.count)
    sequences: Any = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.start()

    def start(self, wrong_by_ms: int = 0) -> None:
        """A new process; what a former one sent is still carried out."""
        self.life += 1
        self.wrong_by_ms = wrong_by_ms
        self.open_objects = set()
        self.outbox = Outbox(ADAPTERS, frozenset({"tiktok", "linkedin"}))
        self.decisions = restore(self.log, self.outbox, GROUP, False, self.clock_ms).decisions

    @property
    def clock_ms(self) -> int:
        """What the living process takes the time to be."""
        return self.now_ms + self.wrong_by_ms

    def decide(self, campaign: int, kind: int) -> None:
        sequence = next(self.sequences)
        name, after = KINDS[kind]
        decision = decision_of(
            decision_id=f"d{sequence}", org_id="default", campaign_id=f"c{campaign}", kind=name.value, reason="t",
            ts_ms=0, effective_ms=0, before={}, after=after, inputs={}, policy="t", sequence=sequence,
        )  # fmt: skip
        self.log.append(topics.DECISIONS, 0, [encode_decision(decision)])

    def write_again(self, count: int) -> None:
        """The flow was killed and writes its last decisions a second time."""
        if count and (records := self.log.records(topics.DECISIONS)[-count:]):
            self.log.append(topics.DECISIONS, 0, records)

    def step(self) -> None:
        while chunk := self.decisions.next():
            offset = chunk.first_offset
            for record in chunk.records():
                self.offer(offset, decode_decision(record))
                offset += len(record) + 1
        self.log.commit(GROUP, topics.DECISIONS, 0, self.outbox.done_before(self.decisions.offset))
        for sending in self.outbox.due(self.clock_ms):
            self.send(sending)

    def offer(self, offset: int, decision: Decision) -> None:
        campaign = CAMPAIGNS[int(decision.campaign_id[1:])]
        self.record(self.outbox.offer(offset, decision, campaign, self.clock_ms))

    def record(self, receipts: list[Receipt]) -> None:
        self.log.append(topics.RECEIPTS, 0, [encode_receipt(receipt) for receipt in receipts])

    def send(self, sending: Sending) -> None:
        self.record([self.outbox.sending(sending)])
        assert self.open_objects.isdisjoint(sending.objects), "two requests at once for one object"
        self.open_objects |= sending.objects
        fate = self.fates.pop() if self.fates else Fate(100, 50)
        carried_out = fate.applies_ms is not None
        if fate.applies_ms is not None:
            self.later(fate.applies_ms, lambda: self.apply(sending))
        certain = carried_out and fate.answer_ms is not None and fate.applies_ms <= fate.answer_ms
        outcome: Outcome = Applied() if certain else Retry("x", "who knows", unknown=True)
        life = self.life
        self.later(fate.answer_ms or TIMEOUT_MS, lambda: self.answer(sending, outcome, life))

    def apply(self, sending: Sending) -> None:
        self.platform[sending.target] = sending.decision.decision_id

    def answer(self, sending: Sending, outcome: Outcome, life: int) -> None:
        if life == self.life:
            self.open_objects -= sending.objects
            self.record([self.outbox.answered(sending, outcome, 200, self.clock_ms)])

    def later(self, wait_ms: int, what: Any) -> None:
        heapq.heappush(self.events, (self.now_ms + wait_ms, next(self.numbers), what))

    def run(self, for_ms: int, *, step_ms: int = 500) -> None:
        """Go on in steps, events at their own times."""
        until = self.now_ms + for_ms
        while self.now_ms < until:
            self.step()
            following = min(until, self.now_ms + step_ms, *(at for at, *_ in self.events[:1]))
            self.now_ms = max(self.now_ms, following)
            while self.events and self.events[0][0] <= self.now_ms:
                heapq.heappop(self.events)[2]()


DEEDS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("decide"), st.integers(0, len(LINKS) - 1), st.integers(0, len(KINDS) - 1)),
        st.tuples(st.just("run"), st.integers(1, 90_000), st.just(0)),
        st.tuples(st.just("kill"), st.sampled_from([0, 0, HOUR_MS, -HOUR_MS, 24 * HOUR_MS]), st.just(0)),
        st.tuples(st.just("write again"), st.integers(0, 4), st.just(0)),
    ),
    max_size=14,
)


def newest_words(log: MemoryLog) -> dict[Target, str]:
    newest: dict[Target, str] = {}
    decisions = sorted(map(decode_decision, log.records(topics.DECISIONS)), key=lambda decision: decision.sequence)
    for decision in decisions:
        link = LINKS[int(decision.campaign_id[1:])]
        budgets = {"daily_budget_micros": "set_budget", "total_budget_micros": "set_total_budget"}
        fields = [field for name, field in budgets.items() if name in named(decision.after)]
        if decision.kind in (Kind.PAUSE, Kind.RESUME):
            fields = ["state"]
        for name in fields or [decision.kind]:
            newest[link.platform, link.account_id, link.campaign_ref, name] = decision.decision_id
    return newest


@settings(max_examples=250, deadline=None)
@given(deeds=DEEDS, fates=st.lists(FATES, max_size=12))
def test_each_object_ends_on_its_newest_word_and_has_one_request_at_a_time(deeds: list[Any], fates: list[Fate]) -> None:
    world = World(fates)
    for deed, first, second in deeds:
        match deed:
            case "decide":
                world.decide(first, second)
            case "run":
                world.run(first)
            case "kill":
                world.start(wrong_by_ms=first)
            case "write again":
                world.write_again(first)
    # Each fate that is left may cost one wait of five minutes at most.
    world.run(2 * (ATTEMPT_MS + SETTLES_MS) + 400_000 * (1 + len(world.fates)), step_ms=10_000)
    assert not world.outbox.waiting
    assert world.platform == newest_words(world.log)


def test_a_pause_that_may_land_late_does_not_stand_over_the_resume_after_it() -> None:
    world = World([Fate(None, TIMEOUT_MS + 30_000)])
    world.decide(0, 0)
    world.run(21_000)
    world.decide(0, 1)
    world.run(10_000)
    assert set(world.platform.values()) == {"d2"}
    world.run(25_000)
    assert set(world.platform.values()) == {"d1"}
    world.run(60_000)
    assert set(world.platform.values()) == {"d2"}


def test_what_a_killed_process_had_under_way_does_not_stand_over_the_newest_word() -> None:
    world = World([Fate(None, 50_000)])
    world.decide(0, 0)
    world.step()
    world.start()
    world.decide(0, 1)
    world.run(ATTEMPT_MS + SETTLES_MS + 10_000)
    assert set(world.platform.values()) == {"d2"}


def test_a_wall_clock_set_ahead_between_two_processes_settles_nothing_sooner() -> None:
    world = World([Fate(None, 50_000)])
    world.decide(0, 0)
    world.step()
    world.start(wrong_by_ms=HOUR_MS)
    world.decide(0, 1)
    world.run(ATTEMPT_MS + SETTLES_MS + 10_000)
    assert set(world.platform.values()) == {"d2"}


def test_a_wall_clock_set_back_between_two_processes_settles_nothing_later() -> None:
    world = World([Fate(None, None)])
    world.decide(0, 0)
    world.step()
    world.start(wrong_by_ms=-HOUR_MS)
    world.decide(0, 1)
    world.run(ATTEMPT_MS + SETTLES_MS + 10_000)
    assert not world.outbox.waiting


def test_a_request_is_remembered_though_the_next_process_sent_the_same_word_again() -> None:
    world = World([Fate(100, 50), Fate(None, 50_000)])
    world.decide(0, 0)
    world.step()
    world.start()
    world.run(5_000)
    world.start()
    world.decide(0, 1)
    world.run(ATTEMPT_MS + SETTLES_MS + 10_000)
    assert set(world.platform.values()) == {"d2"}


def test_a_request_is_remembered_though_its_word_gave_way_to_a_newer_one() -> None:
    world = World([Fate(100, 50), Fate(None, 50_000)])
    world.decide(0, 0)
    world.step()
    world.decide(0, 1)
    world.start()
    world.run(5_000)
    world.start()
    world.run(ATTEMPT_MS + SETTLES_MS + 10_000)
    assert set(world.platform.values()) == {"d2"}


class LateLog(MemoryLog):
    """As a broker: a reader that does not wait gets nothing at first."""

    def read(self, topic: str, partition: int, offset: int, max_bytes: int, timeout_s: float = 0.0) -> Chunk | None:
        return super().read(topic, partition, offset, max_bytes) if timeout_s else None


def test_receipts_are_read_to_their_end_though_a_broker_gives_nothing_at_first() -> None:
    world = World([Fate(None, 50_000)])
    world.decide(0, 0)
    world.step()
    log = LateLog()
    log.append(topics.RECEIPTS, 0, world.log.records(topics.RECEIPTS))
    outbox = Outbox(ADAPTERS, frozenset({"tiktok"}))
    restore(log, outbox, GROUP, False, world.clock_ms)
    assert [target[2] for target in outbox.unanswered] == ["1"]


def test_what_a_log_never_gives_does_not_hold_up_the_start_for_ever() -> None:
    class Hollow(MemoryLog):
        """Its last offsets are no records."""

        def end(self, topic: str, partition: int) -> int:
            return super().end(topic, partition) + 1

        def read(self, *place: Any) -> Chunk | None:
            return super().read(*place[:4])

    outbox = Outbox(ADAPTERS, frozenset({"tiktok"}))
    assert restore(Hollow(), outbox, GROUP, False, 0).definitions == []
