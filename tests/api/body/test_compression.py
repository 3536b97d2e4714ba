"""Bombs cost no more work than what they may become: counted in steps and members, not in seconds."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest
import zstandard
from starlette.requests import ClientDisconnect

from api.body import BODY_BYTES_MAX, decompress
from api.body.compression import MEMBERS_MAX, STEP_IN_BYTES, STEP_OUT_BYTES
from api.body.zstd_frames import BLOCKS_MAX, FRAMES_MAX, BadFramesError, check_frames
from api.problems import Problem

EMPTY_MEMBER = gzip.compress(b"")
EMPTY_FRAME = zstandard.compress(b"")
SKIPPABLE = b"\x50\x2a\x4d\x18" + b"\0" * 4
# Six megabytes and more.
MANY = 700_000


class Steps:
    """Counts how often somebody looked whether the work is still wanted."""

    def __init__(self, end_at: int | None = None) -> None:
        self.count = 0
        self._end_at = end_at

    def __call__(self) -> None:
        self.count += 1
        if self.count == self._end_at:
            raise ClientDisconnect


def refused(body: bytes, encoding: str, steps: Steps) -> tuple[int, str]:
    with pytest.raises(Problem) as caught:
        decompress(body, encoding, BODY_BYTES_MAX, steps)
    return caught.value.status, caught.value.detail


def test_empty_gzip_members_end_at_a_bound_and_are_not_copied_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    real = zlib.decompressobj

    class Counting:
        def __init__(self, form: int) -> None:
            self._real = real(form)

        def decompress(self, data: Any, room: int) -> bytes:
            given.append(len(data))
            return self._real.decompress(data, room)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    steps = Steps()
    status, detail = refused(EMPTY_MEMBER * 300_000, "gzip", steps)
    assert (status, "members" in detail) == (400, True)
    assert (len(given), max(given)) == (MEMBERS_MAX, STEP_IN_BYTES)


@pytest.mark.parametrize("members", [1, 2, MEMBERS_MAX])
def test_members_up_to_the_bound_are_one_body(members: int) -> None:
    assert decompress(gzip.compress(b"line\n") * members, "gzip", BODY_BYTES_MAX) == b"line\n" * members


def test_a_member_larger_than_a_step_and_what_follows_it_are_whole() -> None:
    large = bytes(range(256)) * 4_096
    assert decompress(gzip.compress(large) + EMPTY_MEMBER + gzip.compress(b"end"), "gzip", 2**21) == large + b"end"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", gzip.compress(b"\0" * 2**28, 9)), ("zstd", zstandard.compress(b"\0" * 2**28))],
    ids=["gzip", "zstd"],
)
def test_a_bomb_ends_a_step_behind_the_limit(encoding: str, body: bytes) -> None:
    steps = Steps()
    assert refused(body, encoding, steps)[0] == 413
    # A step of input gives one of output at most; the last is the one too many.
    assert steps.count <= BODY_BYTES_MAX // STEP_OUT_BYTES + len(body) // STEP_IN_BYTES + 3


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (EMPTY_FRAME * MANY, "frames"),
        (SKIPPABLE * MANY, "frames"),
        (EMPTY_FRAME[:6] + b"\0" * 3 * BLOCKS_MAX * 2, "blocks"),
        (zstandard.compress(b"line\n" * 1000)[:-3], "early"),
        (SKIPPABLE[:4] + b"\xff" * 4, "early"),
        (EMPTY_FRAME + b"line", "something else"),
    ],
    ids=["empty_frames", "skippable_frames", "empty_blocks", "cut_short", "skips_past_the_end", "rest"],
)
def test_frames_that_are_too_many_or_not_whole_are_refused_before_any_is_decompressed(body: bytes, said: str) -> None:
    steps = Steps()
    status, detail = refused(body, "zstd", steps)
    assert (status, said in detail, steps.count) == (400, True, 0)


@pytest.mark.parametrize("level", [1, 3, 10, 19])
@pytest.mark.parametrize("checksum", [True, False])
def test_the_walk_over_frames_agrees_with_what_compressors_write(level: int, *, checksum: bool) -> None:
    plain = b"".join(b"%d line\n" % number for number in range(100_000))
    made = zstandard.ZstdCompressor(level=level, write_checksum=checksum, write_content_size=checksum).compress(plain)
    assert check_frames(made) == 1
    assert check_frames(made + SKIPPABLE + made) == 3
    assert decompress(made + SKIPPABLE + made, "zstd", BODY_BYTES_MAX) == plain * 2
    for cut in (1, 4, len(made) // 2, len(made) - 1):
        with pytest.raises(BadFramesError):
            check_frames(made[:cut])


def test_a_window_that_would_take_our_memory_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True, write_content_size=False)
    body = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    made = body.compress(b"x" * 2**20) + body.flush()
    assert refused(made, "zstd", Steps())[0] == 400


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_work_ends_at_the_step_at_which_the_sender_is_gone(encoding: str) -> None:
    plain = bytes(4 * STEP_OUT_BYTES)
    body = gzip.compress(plain) if encoding == "gzip" else zstandard.compress(plain)
    steps = Steps(end_at=2)
    with pytest.raises(ClientDisconnect):
        decompress(body, encoding, BODY_BYTES_MAX, steps)
    assert steps.count == 2


def test_frames_up_to_the_bound_are_one_body() -> None:
    assert decompress(zstandard.compress(b"line\n") * FRAMES_MAX, "zstd", BODY_BYTES_MAX) == b"line\n" * FRAMES_MAX
