"""The scanner's tables, and what must hold for each: checked when they are made, which is at import.

The scanner compares texts as one or two words of eight bytes, the bytes behind a shorter one 0. A name that does not
fit that would be accepted cut off, or never found; so it is refused here, by a sentence that says what to change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

WORD_BYTES: Final = 8
# Names are compared as two words.
NAME_BYTES_MAX: Final = 2 * WORD_BYTES
# Multipliers that are tried for a perfect hash; with places for five times as many names one in six will do.
_TRIES_MAX: Final = 1_000
_MASK: Final = 0xFFFFFFFFFFFFFFFF
# Bytes 0x21 to 0x7E but those that JSON escapes: the scanner never finds a text with an escape.
_PLAIN: Final = re.compile(r"[!#-\[\]-~]+")


class TableError(ValueError):
    """A table that the scanner would misread; the message says what to change."""


def require(holds: bool, sentence: str) -> None:
    """Raise TableError with the sentence unless the condition holds; unlike `assert`, with `python -O` too."""
    if not holds:
        raise TableError(sentence)


def word_of(text: str, at: int = 0) -> int:
    """Eight of the text's bytes as they lie in memory, 0 behind its end.

    >>> hex(word_of("click"))
    '0x6b63696c63'
    """
    return int.from_bytes(text.encode()[at : at + WORD_BYTES], "little")


def _require_names(what: str, names: Sequence[str]) -> None:
    require(len(names) > 0, f"there are no {what}: the scanner needs at least one")
    require(len(set(names)) == len(names), f"{what} must differ: one of {', '.join(names)} is there twice")
    for name in names:
        require(
            _PLAIN.fullmatch(name) is not None,
            f"{what}: {name!r} must be of printable ASCII without spaces, quotes and backslashes, as the scanner "
            "compares bytes and reads no escapes",
        )
        require(
            len(name) <= NAME_BYTES_MAX,
            f"{what}: {name!r} is longer than {NAME_BYTES_MAX} bytes, of which the scanner compares no more: it would "
            f"take {name[:NAME_BYTES_MAX]!r} for it; shorten it, or compare a third word in schemas/decode/keys.py",
        )


class KeyTable(NamedTuple):
    """A perfect hash of keys: where a key's first word times `multiplier` has its highest bits; length -1 is free."""

    multiplier: np.uint64
    shift: np.uint64
    first: NDArray[np.uint64]
    rest: NDArray[np.uint64]
    length: NDArray[np.int64]
    code: NDArray[np.int64]


def _slot_of(first: int, multiplier: int, bits: int) -> int:
    return (first * multiplier & _MASK) >> (64 - bits)


def _multiplier(keys: Sequence[str], bits: int) -> int:
    """An odd number whose product spreads the keys' first words over 2**bits places without collision."""
    firsts = [word_of(key) for key in keys]
    candidate = 0x9E3779B97F4A7C15
    for _ in range(_TRIES_MAX):
        if len({_slot_of(first, candidate, bits) for first in firsts}) == len(firsts):
            return candidate
        candidate = (candidate * 6364136223846793005 + 1442695040888963407) & _MASK | 1
    raise TableError(
        f"none of {_TRIES_MAX} multipliers spreads {len(keys)} keys over {1 << bits} places: raise SLOT_BITS in "
        "schemas/decode/keys.py"
    )


def key_table(keys: Sequence[str], bits: int) -> KeyTable:
    """The table of keys by code, their place in `keys`."""
    _require_names("keys", keys)
    for one, other in combinations(keys, 2):
        require(
            word_of(one) != word_of(other),
            f"keys {one!r} and {other!r} have the same first {WORD_BYTES} bytes, by which the scanner tells keys apart:"
            " rename one, or hash both words in schemas/decode/keys.py",
        )
    multiplier, places = _multiplier(keys, bits), 1 << bits
    table = KeyTable(
        np.uint64(multiplier),
        np.uint64(64 - bits),
        np.zeros(places, np.uint64),
        np.zeros(places, np.uint64),
        np.full(places, -1, np.int64),
        np.zeros(places, np.int64),
    )
    for code, key in enumerate(keys):
        slot = _slot_of(word_of(key), multiplier, bits)
        table.first[slot], table.rest[slot] = word_of(key), word_of(key, WORD_BYTES)
        table.length[slot], table.code[slot] = len(key), code
    return table


def listed_words(lists: Mapping[str, Sequence[str]]) -> NDArray[np.uint64]:
    """The names that fields may have as pairs of words, shaped [field, name, word]; (0, 0) is no name."""
    for field, names in lists.items():
        _require_names(f"names of {field}", names)
    words = np.zeros((len(lists), max(map(len, lists.values())), 2), np.uint64)
    for row, names in enumerate(lists.values()):
        words[row, : len(names)] = [(word_of(name), word_of(name, WORD_BYTES)) for name in names]
    return words


def require_types(kinds: Mapping[str, int], known: Mapping[str, int]) -> None:
    """The event types and their codes are those that the scanner has written out; 0 says that there is none."""
    require(
        dict(kinds) == dict(known),
        f"event types are {dict(kinds)}, the scanner has {dict(known)}: change type_code in schemas/decode/keys.py",
    )
    for name, code in kinds.items():
        require(0 < code < 256, f"event type {name!r} has code {code}: it must be 1 to 255, 0 says that there is none")


def require_pattern(pattern: str, ranges: Iterable[tuple[int, int]], length_max: int) -> None:
    """A pattern is "1 to `length_max` of letters and the ASCII ranges", which is what the scanner checks."""
    letters = {*range(ord("A"), ord("Z") + 1), *range(ord("a"), ord("z") + 1)}
    known = letters.union(*(range(low, high + 1) for low, high in ranges))
    matches = re.compile(pattern.removeprefix("^").removesuffix("$")).fullmatch
    # Every byte, and what only Unicode has: letters and digits of other scripts, a dotless i, the Kelvin sign.
    wrong = [
        code for code in (*range(256), 0x0131, 0x0660, 0x0430, 0x212A) if bool(matches(chr(code))) != (code in known)
    ]
    require(
        not wrong,
        f"the pattern of event ids, {pattern}, and the scanner differ about {[chr(code) for code in wrong]}: change "
        "is_event_id in schemas/decode/keys.py with it",
    )
    lengths = [length for length in range(length_max + 2) if matches("a" * length)]
    require(
        lengths == list(range(1, length_max + 1)),
        f"the pattern of event ids, {pattern}, must take 1 to {length_max} characters: change EVENT_ID_BYTES_MAX in "
        "schemas/decode/keys.py with it",
    )


def require_numbers(ts_ms: tuple[int, int], micros_max: int, digits_max: int) -> None:
    """What bounds times and amounts: 0 is "absent" for a time, and so many digits never overflow 64 bits."""
    require(10**digits_max < 2**63, f"{digits_max} digits do not fit 64 bits: the scanner would overflow")
    require(
        0 < ts_ms[0] < ts_ms[1] < 10**digits_max,
        f"TS_MS_MIN and TS_MS_MAX are {ts_ms[0]} and {ts_ms[1]}: the scanner takes 0 for no time and reads at most "
        f"{digits_max} digits",
    )
    require(
        0 < micros_max < 10**digits_max,
        f"MICROS_MAX is {micros_max}: the scanner reads at most {digits_max} digits, and columns have 64 bits",
    )


def require_fields(scanned: Iterable[str], checked: Iterable[str]) -> None:
    """The scanner knows the fields that the row decoder knows: another would be an unknown one in the fast path."""
    differing = sorted(set(scanned) ^ set(checked))
    require(
        not differing,
        f"the scanner and the row decoder do not know the same fields: {', '.join(differing)} must be both among "
        "the keys of schemas/decode/keys.py and in CHECKS of schemas/decode/rows.py",
    )


def require_order(codes: Sequence[int]) -> None:
    """Codes of fields follow one another, which is what the scanner's comparisons of codes rest on."""
    first = codes[0] if codes else 0
    require(
        list(codes) == list(range(first, first + len(codes))),
        f"codes of fields are {list(codes)}: the scanner takes it that they follow one another without a gap",
    )


def require_padding(padding: int, loaded: int, where: str) -> None:
    """There are as many bytes behind a text as kernels load past it."""
    require(padding >= loaded, f"{where} is {padding}: kernels load up to {loaded} bytes past the end of a text")


def require_lengths(lengths: Mapping[str, int], bits: int) -> None:
    """The longest texts of a series' dimensions have a length of so many bits."""
    for field, length in lengths.items():
        require(
            length < 1 << bits,
            f"{field} may be {length} bytes long: a series keeps lengths in {bits} bits (SERIES in schemas/batch.py)",
        )


def require_secrets(secrets: Sequence[int], seeds: Sequence[int]) -> None:
    """Numbers of the hash: each its own; a secret has a byte that UTF-8 never has, so that no text cancels it."""
    every = [*secrets, *seeds]
    require(len(set(every)) == len(every) and 0 not in every, "two secrets or seeds of the hash are equal, or one is 0")
    for secret in secrets:
        found = 0xFF in secret.to_bytes(8, "little") and secret % 2 == 1
        require(found, f"secret {secret:#x} of the hash must be odd and have a byte 0xFF, which no text has")
