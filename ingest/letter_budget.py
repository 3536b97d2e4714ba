"""How many bytes of dead letters an organisation may write: what is refused must not cost more than what is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

# Of one organisation: a bad release of an SDK is seen in its first minute, and a flood of rubbish fills no disk.
BURST_BYTES: Final = 16 * 2**20
BYTES_PER_S: Final = 64 * 1024


class LetterBudget:
    """Token buckets of bytes. `clock_s` is any clock that never goes back."""

    def __init__(
        self, clock_s: Callable[[], float], *, burst_bytes: int = BURST_BYTES, bytes_per_s: float = BYTES_PER_S
    ) -> None:
        self._clock_s = clock_s
        self._burst = float(burst_bytes)
        self._rate = bytes_per_s
        # Tokens and when they were counted; as many as there are organisations with a key.
        self._buckets: dict[str, tuple[float, float]] = {}

    def kept(self, org_id: str, letters: Sequence[bytes]) -> int:
        """How many of the letters, from the first, the organisation may write; their bytes are taken.

        >>> budget = LetterBudget(lambda: 0.0, burst_bytes=10)
        >>> budget.kept("o", [b"1234", b"1234", b"1234"]), budget.kept("o", [b"12"]), budget.kept("o", [b"1"])
        (2, 1, 0)
        """
        now_s = self._clock_s()
        tokens, at_s = self._buckets.get(org_id, (self._burst, now_s))
        tokens = min(self._burst, tokens + (now_s - at_s) * self._rate)
        count = 0
        for letter in letters:
            if len(letter) > tokens:
                break
            tokens -= len(letter)
            count += 1
        self._buckets[org_id] = (tokens, now_s)
        return count
