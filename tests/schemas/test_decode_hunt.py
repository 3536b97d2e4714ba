from __future__ import annotations

import subprocess
import sys
from collections import Counter
from random import Random

import numpy as np
import pytest

import schemas.decode.chunk
from schemas.dead_letters import Reject
from schemas.decode import SeriesTable, decode_chunk
from schemas.log import Chunk
from tests.schemas import decode_hunt, decode_reference
from tests.schemas.decode_mutations import NOW_MS
from tests.schemas.guarded import GuardedPayload

# Some 7,000 lines, in a second or two; `make hunt-decode` goes on from other numbers.
ROUNDS = range(150)
PENSTOCK_HASH = 0x54B612262F7F524B


def alone(raw: bytes, first: bytes = b"") -> Chunk:
    return Chunk("events", 0, first + raw + b"\n", 0, len(first) + len(raw) + 1)


@pytest.mark.parametrize("org_id", [None, "acme"], ids=["any organisation", "acme"])
def test_every_line_of_the_corpus_is_what_the_plain_reference_says(org_id: str | None) -> None:
    for raw in decode_hunt.corpus():
        decode_hunt.check_chunk(alone(raw), org_id, None)


def test_lines_from_fixed_seeds_are_what_the_plain_reference_says() -> None:
    kept = decode_hunt.corpus()
    seen: Counter[str] = Counter()
    for number in ROUNDS:
        seen += decode_hunt.play(number, kept)
    assert seen["taken"] > 2_000
    # Every reason that a decoder has, so that none goes untried.
    given_by_others = {Reject.TOO_MANY_CAMPAIGNS, Reject.FOREIGN_CAMPAIGN, Reject.COST_NOT_ALLOWED}
    assert {reason.value for reason in Reject} - given_by_others <= set(seen)


def test_most_lines_that_are_taken_go_the_fast_way_and_many_the_slow_one() -> None:
    kept, slow, taken = decode_hunt.corpus(), 0, 0
    for number in ROUNDS[:40]:
        random = Random(number)
        lines = [decode_hunt.line_of(random, kept) for _ in range(decode_hunt.LINES_A_ROUND)]
        for chunk in decode_hunt.chunks(random, lines):
            found = schemas.decode.chunk.scan(chunk, now_ms=NOW_MS, org_id=None, series=SeriesTable())
            slow, taken = slow + len(found.slow), taken + len(found.kept)
    assert 0.1 < slow / taken < 0.5


def test_a_difference_is_told_with_its_line_and_its_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the decoder had a bug: the reference believes that there are no leads."""
    monkeypatch.setitem(decode_reference.TYPES, "lead", 3)
    with pytest.raises(AssertionError, match=r"round \d+, org_id .*\n  AssertionError: decode_chunk has"):
        [decode_hunt.play(number, [b"{}"]) for number in range(20)]


@pytest.mark.parametrize("space", range(64))
def test_no_kernel_reads_past_the_end_of_a_chunk(space: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut-off lines of every length at the end, where memory ends; one that reads on would end this process."""
    monkeypatch.setattr(schemas.decode.chunk, "Payload", GuardedPayload)
    for begin in (b"", b'{"a', b'{"a":"', b"{", b'{"event_id":"', b'{"a":1,', b" "):
        for first in (b"", b"{\n", b'{"a":1,\n'):
            raw = begin + b" " * max(0, space - len(begin))
            found = decode_chunk(alone(raw, first), now_ms=NOW_MS)
            assert found.lines == (raw.strip(b" ") != b"") + bool(first)


def test_a_read_behind_guarded_memory_ends_the_process() -> None:
    script = (
        "import numpy as np; from tests.schemas.guarded import Guard; view = Guard().filled(b'x' * 9);"
        "print(int(np.lib.stride_tricks.as_strided(view, (9,))[8]), flush=True);"
        "np.lib.stride_tricks.as_strided(view, (10,))[9]"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=120, check=False)
    assert ran.stdout == b"120\n"
    assert ran.returncode < 0


def test_the_hash_of_the_reference_is_that_of_the_decoder() -> None:
    """So that a change of the hash, which would make every id in a snapshot another, is seen here first."""
    text = bytes(range(1, 41))
    seed = int(schemas.decode.columns.SEED_FIELD)
    for length in range(1, 41):
        given = np.frombuffer(text[:length] + bytes(16), np.uint8)
        found = schemas.decode.columns._text_hash(given.ctypes.data, length)
        assert int(found) == decode_reference.hash_text(text[:length], seed)
    assert decode_reference.hash_text(b"penstock", seed) == PENSTOCK_HASH
