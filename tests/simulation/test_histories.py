"""Histories with faults, each judged by an oracle that counts by plain Python."""

from __future__ import annotations

import time
from typing import Final

import pytest

from flows.warm import load_kernels
from schemas.topics import ALL, LIVE
from tests.simulation.__main__ import kept_seeds
from tests.simulation.history import Finding, broken_by
from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.plain import records
from tests.simulation.plan import Plan, draw
from tests.simulation.world import World

# Of each chunk as many as its time allows: some hundreds in a minute of one core; `make hunt` goes on for as long as
# one likes. On a slow machine fewer, never fewer than the least.
CHUNK: Final = 75
CHUNKS: Final = 30
LEAST: Final = 5
SECONDS: Final = 2.5
# Seeds within which every mend that is taken out must be missed.
MISSED_WITHIN: Final = 150


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    load_kernels()


def must_keep_its_promises(plan: Plan) -> None:
    broken = broken_by(plan)
    if broken is not None:
        pytest.fail(Finding(plan, broken).story(), pytrace=False)


@pytest.mark.parametrize("first", range(0, CHUNK * CHUNKS, CHUNK))
def test_no_history_breaks_a_promise(first: int) -> None:
    until_s = time.monotonic() + SECONDS
    for seed in range(first, first + CHUNK):
        if seed >= first + LEAST and time.monotonic() > until_s:
            break
        must_keep_its_promises(draw(seed))


@pytest.mark.parametrize("seed", kept_seeds())
def test_a_history_that_broke_a_promise_once_does_so_no_more(seed: int) -> None:
    must_keep_its_promises(draw(seed))


def test_a_seed_tells_the_same_history_every_time() -> None:
    assert told(7) == told(7)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])
def test_a_mend_that_is_taken_out_is_missed(mutation: Mutation) -> None:
    for seed in (mutation.seed, *range(MISSED_WITHIN)):
        with mutation.install():
            if broken_by(draw(seed)) is not None:
                return
    pytest.fail(f"{MISSED_WITHIN} histories did not notice that {mutation.name}")


def told(seed: int) -> list[tuple[str, int, bytes]]:
    """Every record of the log of a history, but live rows, which a power loss may take."""
    world = World(draw(seed))
    world.run()
    log = world.open_log(world.rng_of("told"), "told")
    found = [
        (topic, partition, record)
        for topic in ALL
        if topic != LIVE
        for partition in range(log.partitions(topic))
        for _, record in records(log, topic, partition)
    ]
    world.close()
    return found
