"""What must hold at the end of every history. Each check says in its message which promise was broken."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from flows.logic.windows import layout as at
from schemas import topics
from schemas.decisions import Decision, Pause, decode_decision, named
from schemas.log import Chunk, Log
from schemas.serving import Serving, decode_serving
from tests.simulation import plain
from tests.simulation.plain import Event, Key
from tests.simulation.plan import ORGS
from tests.simulation.replay import replayed
from tests.simulation.world import Violation, World
from tests.support.serving_fold import ServingFold


def check(world: World) -> None:
    """Raises Violation for the first promise that was broken."""
    try:
        Oracle(world).check()
    except Violation:
        raise
    except AssertionError as error:
        raise Violation(str(error)) from error


class Oracle:
    """What was acknowledged, what the log has, and what every part made of it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng_of("oracle")
        self._log: Log = world.open_log(self._rng, "oracle")
        self._logged, self._torn = plain.events(self._log)
        self._judged = plain.judgements(self._log)
        self._counted = [event for event in self._logged if not self._is_refused(event)]
        self._corrected = plain.corrections(self._log, self._counted)
        self._defined = world.definition_offsets(self._log)
        self._clock_was_wrong = any(fault.what == "clock" for fault in world.plan.faults)

    def check(self) -> None:
        self.nothing_acknowledged_is_lost()
        self.every_event_is_judged_and_counted_once()
        self.every_correction_is_in_force_once()
        self.ticks_went_on()
        self.ledgers_add_up()
        self.warehouse_has_every_event()
        self.windows_add_up()
        self.days_are_the_campaigns_days()
        decisions = self.decisions_are_stored()
        self.pauses_are_event_exact(decisions)
        self.states_are_the_newest_words(decisions)
        self.replay_decides_the_same(decisions)
        self.platforms_show_the_newest_word(decisions)
        self.words_say_what_was_folded()
        self.serving_outlasts_the_log()
        self.a_flipped_bit_is_not_read()

    def _is_refused(self, event: Event) -> bool:
        judged = self._judged[event.partition]
        return event.offset in judged.duplicates or event.offset in judged.dead

    # -- events -------------------------------------------------------------------------------------------------

    def nothing_acknowledged_is_lost(self) -> None:
        senders = self._world.senders
        there = {event.event_id for event in self._logged}
        lost = senders.acknowledged - there
        assert not lost, f"acknowledged and not in the log: {sorted(lost)}"
        made_up = there - senders.sent
        assert not made_up, f"in the log and never sent: {sorted(made_up)}"

    def every_event_is_judged_and_counted_once(self) -> None:
        for partition, offset in self._torn:
            assert offset in self._judged[partition].dead, f"events/{partition}@{offset} is torn and was taken"
        for event in self._logged:
            spans = self._judged[event.partition].spans
            assert any(first <= event.offset < end for first, end in spans), f"{event} has no verdict"
        seen: dict[tuple[Key, str], int] = {}
        order: list[tuple[Key, str]] = []
        for event in self._logged:
            judged = self._judged[event.partition]
            identity = event.key, event.event_id
            if event.offset in judged.dead:
                assert self._clock_was_wrong, f"{event} was admitted and then refused"
                continue
            before = seen.get(identity)
            if event.offset in judged.duplicates:
                assert before is not None, f"{event} is called a duplicate and is the first of its id"
                continue
            if before is not None:
                # Organisations share the memory; each has the last of its own ids.
                between = len({identity for identity in order[before:] if identity[0][0] == event.key[0]})
                room = self._world.plan.dedupe_ids // len(ORGS)
                assert between > room, f"{event} counts twice, {between} ids after the first, with room for {room}"
            seen[identity] = len(order)
            order.append(identity)

    def every_correction_is_in_force_once(self) -> None:
        partitions = range(self._world.plan.partitions)
        sent = [json.loads(record) for n in partitions for _, record in plain.records(self._log, topics.CORRECTIONS, n)]
        wanted = {one["org_id"] + "/" + one["correction_id"] for one in sent}
        made = {one.correction_id for one in self._corrected}
        assert made == wanted, f"sent and not in force, or the other way round: {sorted(made ^ wanted)}"
        said = {f"{one.correction.org_id}/{one.correction.correction_id}" for one in self._world.plan.corrections}
        assert said <= wanted, f"somebody's corrections are not in the log: {sorted(said - wanted)}"
        stored = {f"{row['org_id']}/{row['correction_id']}": row for row in self._table("corrections")}
        assert set(stored) == made, f"corrections not stored: {sorted(made ^ set(stored))}"
        for one in self._corrected:
            row = stored[one.correction_id]
            how = "refused" if row["refused"] else "late" if row["late"] else "applied"
            assert how == one.how, f"correction {one.correction_id} is stored as {how}, it is {one.how}"
            assert one.met or one.how == "late", f"correction {one.correction_id} of an unknown campaign is {one.how}"

    def _in_force(self, key: Key) -> list[plain.Correction]:
        """The corrections that changed a campaign in the flow."""
        return [one for one in self._corrected if one.key == key and one.met and one.how != "refused"]

    def ticks_went_on(self) -> None:
        world = self._world
        for partition, before in world.entries_before.items():
            made = sum(1 for _ in plain.records(self._log, topics.ORDER, partition)) - before
            seconds = world.quiet_ms / 1_000
            assert made > seconds / 2, f"partition {partition} ticked {made} times in {seconds:.0f} quiet seconds"

    # -- sums ---------------------------------------------------------------------------------------------------

    def ledgers_add_up(self) -> None:
        for key, row in self._rows():
            mine = [event for event in self._counted if event.key == key]
            corrected = self._in_force(key)
            total = sum(event.cost_micros for event in mine) + sum(one.spend_micros for one in corrected)
            assert row["spent_total"] == total, f"{key}: the ledger says {row['spent_total']} was spent, not {total}"
            day = sum(e.cost_micros for e in mine if row["day_start_ms"] <= e.ts_ms < row["day_end_ms"])
            today = [one for one in corrected if row["day_start_ms"] <= one.ts_ms < row["day_end_ms"]]
            if any(one.spend_micros < 0 for one in today):
                # A day's ledger does not go below zero, which depends on when what was taken back came.
                assert row["spent_day"] >= 0, f"{key}: the ledger says {row['spent_day']} was spent today"
                continue
            day += sum(one.spend_micros for one in today)
            assert row["spent_day"] == day, f"{key}: the ledger says {row['spent_day']} was spent today, not {day}"

    def _rows(self) -> list[tuple[Key, Any]]:
        return [
            ((key.org_id, key.campaign_id), shard.arrays.campaign(slot))
            for shard in self._world.flow.shards()
            for slot, key in shard.registry.campaigns.used()
        ]

    def warehouse_has_every_event(self) -> None:
        rows = {(row["org_id"], row["campaign_id"], row["ts"], row["event_id"]) for row in self._table("events")}
        wanted = {(*event.key, event.ts_ms, event.event_id) for event in self._counted}
        assert not wanted - rows, f"not in table events: {sorted(wanted - rows)[:5]}, {len(wanted - rows)} in all"
        assert not rows - wanted, f"in table events and not counted: {sorted(rows - wanted)[:5]}"

    def windows_add_up(self) -> None:
        wanted = plain.windows(self._counted)
        stored: dict[tuple[Key, str, int], tuple[int, ...]] = {}
        series: dict[tuple[Key, str, int], list[int]] = defaultdict(lambda: [0] * 7)
        for row in self._table("kpi_windows"):
            key = (row["org_id"], row["campaign_id"]), row["window"], row["window_start"]
            if row["level"] == "campaign":
                stored[key] = _numbers(row)
            else:
                series[key] = [a + b for a, b in zip(series[key], _numbers(row), strict=True)]
        for key, events in wanted.items():
            row = stored.get(key, ())
            corrected = self._of_window(key)
            if any(not one.met for one in corrected):
                # What the store counted alone may be replaced by what the flow counts later.
                continue
            if corrected:
                assert plain.may_be(row, events, corrected), f"window {key} is stored as {row}: {events}, {corrected}"
                continue
            assert plain.counts(row, events), f"window {key} is stored as {row}, not {plain.row_of(events)}"
        for key, numbers in stored.items():
            if key[1] == "day":
                continue
            corrected = self._of_window(key)
            there = key in wanted or corrected
            assert there, f"window {key} is stored as {numbers} and nothing is in it"
            if corrected:
                continue
            assert tuple(series[key]) == numbers, f"the series of window {key} add up to {series[key]}, not {numbers}"

    def _of_window(self, key: tuple[Key, str, int]) -> list[plain.Correction]:
        """The corrections that changed a window finer than a day."""
        campaign, window, start = key
        end = start + plain.WIDTHS_MS[window]
        mine = [one for one in self._corrected if one.key == campaign and one.how != "refused"]
        return [one for one in mine if one.grain == "moment" and start <= one.ts_ms < end]

    def days_are_the_campaigns_days(self) -> None:
        for key in {event.key for event in self._counted}:
            mine = [event for event in self._counted if event.key == key]
            rows = [
                row for row in self._table("kpi_windows")
                if (row["org_id"], row["campaign_id"]) == key and (row["level"], row["window"]) == ("campaign", "day")
            ]  # fmt: skip
            zone = self._world.plan.zones[key]
            began_in_utc = not self._was_defined_first(key)
            for row in rows:
                start, end = row["window_start"], row["window_end"]
                inside, numbers = [event for event in mine if start <= event.ts_ms < end], _numbers(row)
                wrong = f"{key}: day {_utc(start)} is {numbers}, not {plain.row_of(inside)}"
                effective = [one for one in self._corrected if one.key == key and one.how != "refused"]
                corrected = [one for one in effective if start <= one.ts_ms < end]
                if all(one.met for one in corrected):
                    fits = plain.may_be(numbers, inside, corrected) if corrected else plain.counts(numbers, inside)
                    assert fits, f"{wrong} with {corrected}"
                is_day = began_in_utc and plain.may_be_day(zone, start, end)
                is_day = is_day or (start, end) == plain.day_of(zone, start)
                assert is_day, f"{key}: {_utc(start)} to {_utc(end)} is no day in {zone}"
            counted, once = sum(row["version"] for row in rows), len({event.event_id for event in mine})
            most = len(mine) + sum(1 for one in self._corrected if one.key == key)
            assert once <= counted <= most, f"{key}: its days count {counted} events, there are {len(mine)}"

    def _was_defined_first(self, key: Key) -> bool:
        """Whether the campaign's definition came into force before its first event."""
        first = min(event.offset for event in self._counted if event.key == key)
        return self._defined.get(key, first + 1) <= first

    def _table(self, name: str) -> list[dict[str, Any]]:
        return self._world.warehouse.rows(name)

    # -- decisions ----------------------------------------------------------------------------------------------

    def decisions_are_stored(self) -> dict[str, Decision]:
        """The decisions by id, in the order of their sequence; the same id must be the same bytes."""
        raw: dict[str, bytes] = {}
        for _, record in plain.records(self._log, topics.DECISIONS):
            identity = decode_decision(record).decision_id
            assert raw.setdefault(identity, record) == record, f"decision {identity} has two contents"
        stored = {row["decision_id"] for row in self._table("decisions")}
        assert stored == set(raw), f"decisions not stored: {sorted(set(raw) - stored)}"
        found = {identity: decode_decision(record) for identity, record in raw.items()}
        return dict(sorted(found.items(), key=lambda entry: entry[1].sequence))

    def pauses_are_event_exact(self, decisions: dict[str, Decision]) -> None:
        for decision in decisions.values():
            if not isinstance(decision, Pause) or decision.cause_event is None:
                continue
            if decision.cause_event.startswith("corrections/"):
                continue
            numbers = named(decision.inputs)
            if "spend_micros" not in numbers:
                continue
            place, _, offset = decision.cause_event.partition("@")
            partition = int(place.rpartition("/")[2])
            until = [
                event for event in self._counted
                if event.key == (decision.org_id, decision.campaign_id)
                and event.partition == partition and event.offset <= int(offset)
            ]  # fmt: skip
            spent, budget = numbers["spend_micros"], numbers["budget_micros"]
            if decision.reason == "total_budget_reached":
                total = sum(event.cost_micros for event in until) + sum(
                    one.spend_micros for one in self._in_force((decision.org_id, decision.campaign_id))
                    if one.partition == partition and one.offset <= int(offset)
                )  # fmt: skip
                assert spent == total, f"{decision.decision_id} says {spent} was spent, the events add up to {total}"
            held = numbers.get("in_flight_micros", 0)
            last = until[-1].cost_micros
            assert spent + held >= budget, f"{decision.decision_id} pauses at {spent} of {budget}"
            if not held:
                assert spent - last < budget, f"{decision.decision_id} pauses at {spent} of {budget}, too late"

    def states_are_the_newest_words(self, decisions: dict[str, Decision]) -> None:
        for key, row in self._rows():
            if row["state"] == at.UNKNOWN:
                continue
            paused = bool(row["state"] == at.PAUSED)
            words = [
                decision for decision in decisions.values()
                if (decision.org_id, decision.campaign_id) == key and decision.kind in ("pause", "resume")
            ]  # fmt: skip
            newest = words[-1].kind if words else "resume"
            assert (newest == "pause") == paused, f"{key}: the newest decision is {newest}, in the flow paused={paused}"
            served = self._world.served.get(*key)
            assert served is not None, f"{key} is not served"
            assert served.paused == paused, f"{key}: served paused={served.paused}, the flow has paused={paused}"
            self._must_hold(key, row, paused)

    def _must_hold(self, key: Key, row: Any, paused: bool) -> None:
        """A person's words and budgets hold."""
        definition, action = self._world.newest_words(key)
        if definition is None:
            return
        by_person = action == "pause" or definition["status"] != "active"
        mine = [event for event in self._counted if event.key == key]
        total = sum(event.cost_micros for event in mine) + sum(one.spend_micros for one in self._in_force(key))
        day = int(row["spent_day"])
        limits = ((definition["total_budget_micros"], total), (definition["daily_budget_micros"], day))
        spent = any(limit is not None and sum_ >= limit for limit, sum_ in limits)
        if by_person or spent:
            assert paused, f"{key} runs; a person paused it: {by_person}, its budget is spent: {spent}"
        others = ("weekly_budget_micros", "start_ms", "end_ms", "bidding")
        if not by_person and not spent and not any(definition.get(name) for name in others):
            assert not paused, f"{key} is paused, with budgets left: {limits}"

    def replay_decides_the_same(self, decisions: dict[str, Decision]) -> None:
        again, outcomes = replayed(self._world, self._log)
        said = {one.correction_id: one.how for one in self._corrected}
        assert outcomes == said, f"a replay corrects otherwise: {sorted(outcomes.items() ^ said.items())}"
        for key in sorted({(one.org_id, one.campaign_id) for one in [*decisions.values(), *again.values()]}):
            first, second = (
                [one for one in some.values() if (one.org_id, one.campaign_id) == key] for some in (decisions, again)
            )
            assert first == second, f"{key}: a replay decides otherwise: {_difference(first, second)}"

    def platforms_show_the_newest_word(self, decisions: dict[str, Decision]) -> None:
        self._world.settle_platforms()
        newest: dict[str, Decision] = {}
        for decision in decisions.values():
            if decision.kind in ("pause", "resume") and decision.mode == "auto":
                newest[f"{decision.org_id}-{decision.campaign_id}"] = decision
        for node, decision in newest.items():
            shown = self._world.platform.fields.get((node, "status"))
            wanted = "PAUSED" if decision.kind == "pause" else "ACTIVE"
            assert shown == wanted, f"the platform shows {node} {shown}, the newest decision is {wanted}"

    def words_say_what_was_folded(self) -> None:
        """The newest word on each campaign, whatever was written again, is what control and decisions add up to."""
        fold = ServingFold(lambda topic, error: None)
        for topic in (topics.CONTROL, topics.DECISIONS):
            payload = b"".join(record + b"\n" for _, record in plain.records(self._log, topic, 0))
            fold.take(Chunk(topic, 0, payload, 0, len(payload)))
        newest: dict[tuple[str, str], Serving] = {}
        for _, record in plain.records(self._log, topics.SERVING, 0):
            word = decode_serving(record)
            known = newest.get((word.org_id, word.campaign_id))
            if known is None or known.seq <= word.seq:
                newest[word.org_id, word.campaign_id] = word
        for old in fold.snapshot():
            word = newest[old.org_id, old.campaign_id]
            for name in ("paused", "bid_micros", "pacing_rate", "modifiers", "currency", "decision_id", "version"):
                said, folded = getattr(word, name), getattr(old, name)
                assert said == folded, f"{old.campaign_id} is served {name} {said!r} and folded {folded!r}"

    def serving_outlasts_the_log(self) -> None:
        """Days later: decisions have expired, and the store is started again."""
        world = self._world
        before = {key: world.served.get(*key) for key, _ in self._rows()}
        world.expire_decisions()
        for key, state in before.items():
            after = world.served.get(*key)
            assert (after and after.paused) == (state and state.paused), f"{key} is served otherwise: {state}, {after}"

    def a_flipped_bit_is_not_read(self) -> None:
        """A bad block on the disk takes records away and changes none."""
        world, partition = self._world, self._rng.randrange(self._world.plan.partitions)
        if world.plan.log != "local" or not self._logged:
            return
        before = dict(plain.records(self._log, topics.EVENTS, partition))
        if not world.flip_a_bit(f"log/{topics.EVENTS}/{partition}", self._rng):
            return
        log = world.open_log(self._rng, "after damage")
        for offset, record in plain.readable(log, topics.EVENTS, partition).items():
            assert before.get(offset) == record, f"events/{partition}@{offset} is read as {record!r} after damage"


def _numbers(row: dict[str, Any]) -> tuple[int, ...]:
    names = ("version", "impressions", "clicks", "conversions", "leads", "spend_micros", "revenue_micros")
    return tuple(row[name] for name in names)


def _difference(first: list[Decision], second: list[Decision]) -> str:
    for one, other in zip(first, second, strict=False):
        if one != other:
            return f"{one} and {other}"
    return f"{len(first)} decisions and {len(second)}"


def _utc(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms / 1_000, UTC).isoformat()
