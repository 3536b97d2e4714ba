"""Rows as numbers that this program and ClickHouse compute alike, so that what was written can be compared with what is
there without sending it back. No I/O.

A row has a key (what ReplacingMergeTree tells rows apart by) and a content (the key, the version and the money). Both
are 64-bit hashes: of texts the CRC-32, of numbers themselves, each mixed with the place of its column by the finaliser
of MurmurHash3 as ClickHouse's intHash64 has it, and added up.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_SALT: Final = 0x9E3779B97F4A7C15
# What intHash64 combines its argument with before it mixes.
_INT_HASH_SEED: Final = np.uint64(0x4CF2D2BAAE6DA887)
_BITS: Final = 2**64


@dataclass(frozen=True, slots=True)
class Shape:
    """A table: texts and numbers of its key, the column its parts are cut by, which of two rows of a key stays (the one
    with the higher `version`), and the money in it."""

    table: str
    texts: tuple[str, ...]
    moment: str | None = None
    version: str | None = None
    values: tuple[str, ...] = ()
    # A text of the key that is another in every row: hashing it is most of the work. Where the version tells rows
    # apart as well it is left out of the first question.
    id_text: str | None = None

    def key_sql(self) -> str:
        """The key's hash, as an expression of SQL."""
        return self._key_sql(self.texts)

    def _key_sql(self, names: tuple[str, ...]) -> str:
        parts = [f"intHash64(CRC32({name}) + {_salt(self.texts.index(name))})" for name in names]
        if self.moment is not None:
            parts.append(f"intHash64(toUInt64(toUnixTimestamp64Milli({self.moment})) + {_salt(len(self.texts))})")
        return " + ".join(parts)

    def content_sql(self) -> str:
        """The content's hash, given the key's as `k`."""
        return self._content_sql("k")

    def _content_sql(self, key: str) -> str:
        numbers = [name for name in (self.version, *self.values) if name is not None]
        parts = [f"intHash64(toUInt64({name}) + {_salt(20 + at)})" for at, name in enumerate(numbers)]
        return f"intHash64({' + '.join([key, *parts])})"

    def quick_sql(self) -> str:
        """The content's hash without `id_text`."""
        return self._content_sql(self._key_sql(self.quick_texts))

    @property
    def quick_texts(self) -> tuple[str, ...]:
        """The texts of the key without `id_text`."""
        return tuple(name for name in self.texts if name != self.id_text)

    def version_sql(self) -> str:
        """The version, or 0 where rows of a key are all the same."""
        return f"toUInt64({self.version})" if self.version is not None else "toUInt64(0)"


EVENTS: Final = Shape(
    "events",
    ("org_id", "campaign_id", "event_id"),
    "ts",
    "log_offset",
    ("cost_micros", "revenue_micros"),
    id_text="event_id",
)
KPI_WINDOWS: Final = Shape(
    "kpi_windows",
    ("org_id", "campaign_id", "level", "creative_id", "channel", "country", "device", "window"),
    "window_start",
    "version",
    ("spend_micros", "revenue_micros"),
)
DECISIONS: Final = Shape("decisions", ("org_id", "campaign_id", "decision_id"), "ts")
DEAD_LETTERS: Final = Shape("dead_letters", ("org_id", "dead_letter_id"), "ts")
CAMPAIGNS: Final = Shape("campaigns", ("org_id", "campaign_id"), None, "version")
CORRECTIONS: Final = Shape(
    "corrections",
    ("org_id", "campaign_id", "correction_id"),
    "ts",
    "log_offset",
    ("impressions", "clicks", "conversions", "leads", "spend_micros", "revenue_micros", "late", "refused"),
)
SHAPES: Final = {shape.table: shape for shape in (EVENTS, KPI_WINDOWS, DECISIONS, DEAD_LETTERS, CAMPAIGNS, CORRECTIONS)}


@dataclass(frozen=True, slots=True)
class Prints:
    """The rows of a table as hashes, one a row: keys, contents, versions."""

    keys: Hashes
    contents: Hashes
    versions: Hashes

    def newest(self) -> NDArray[np.intp]:
        """The rows that stay: of each key the one with the highest version, of equal ones the last."""
        order = np.lexsort((self.versions, self.keys))
        keys = self.keys[order]
        last = np.ones(len(keys), np.bool_)
        last[:-1] = keys[1:] != keys[:-1]
        return order[last]


def prints(shape: Shape, table: pa.Table) -> Prints:
    """The hashes of a table's rows."""
    keys = _keys(shape, table, shape.texts)
    nothing = np.zeros(table.num_rows, np.uint64)
    versions = nothing if shape.version is None else _unsigned(table[shape.version])
    return Prints(keys, _contents(shape, table, keys), versions)


def quick_contents(shape: Shape, table: pa.Table) -> Hashes:
    """The hashes that `quick_sql` gives, one a row."""
    return _contents(shape, table, _keys(shape, table, shape.quick_texts))


def _keys(shape: Shape, table: pa.Table, names: tuple[str, ...]) -> Hashes:
    keys = np.zeros(table.num_rows, np.uint64)
    for name in names:
        keys += _mixed(_crc(table[name]), shape.texts.index(name))
    if shape.moment is not None:
        keys += _mixed(_unsigned(table[shape.moment].cast(pa.int64())), len(shape.texts))
    return keys


def _contents(shape: Shape, table: pa.Table, keys: Hashes) -> Hashes:
    contents = keys.copy()
    numbers = [name for name in (shape.version, *shape.values) if name is not None]
    for at, name in enumerate(numbers):
        contents += _mixed(_unsigned(table[name]), 20 + at)
    return int_hash(contents)


def int_hash(numbers: Hashes) -> Hashes:
    """ClickHouse's intHash64.

    >>> int(int_hash(np.array([1_234_567_890], np.uint64))[0])
    12193047823994929170
    """
    mixed = numbers ^ _INT_HASH_SEED
    mixed ^= mixed >> np.uint64(33)
    mixed *= np.uint64(0xFF51AFD7ED558CCD)
    mixed ^= mixed >> np.uint64(33)
    mixed *= np.uint64(0xC4CEB9FE1A85EC53)
    return mixed ^ (mixed >> np.uint64(33))


def _salt(at: int) -> int:
    return _SALT * (at + 1) % _BITS


def _mixed(numbers: Hashes, at: int) -> Hashes:
    return int_hash(numbers + np.uint64(_salt(at)))


def _unsigned(column: pa.ChunkedArray) -> Hashes:
    numbers: NDArray[np.int64] = column.to_numpy()
    return numbers.astype(np.uint64)


def _crc(column: pa.ChunkedArray) -> Hashes:
    """CRC-32 of each text; of texts that come often, once each."""
    array = column.combine_chunks()
    array = array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)
    coded = array.dictionary_encode()
    texts = pc.cast(coded.dictionary, pa.binary()).to_pylist()
    sums = np.fromiter(map(zlib.crc32, texts), np.uint64, len(texts))
    codes: NDArray[np.int32] = coded.indices.to_numpy()
    return sums[codes] if len(texts) else np.zeros(0, np.uint64)
