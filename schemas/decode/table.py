"""A chunk of the log to the columns of a table: a text column is one run of bytes and offsets into it, as in Arrow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.decode.buffers import PADDING, address, padded
from schemas.decode.chunk import Scan, scan
from schemas.decode.kernel import kernel
from schemas.decode.keys import ORG_ID, SPAN_FIELDS, SPANS
from schemas.decode.memory import get, load, put, store
from schemas.decode.series import Uncoded
from schemas.events import DEFAULT_ORG
from schemas.log import Chunk

_encoder = msgspec.json.Encoder()


class TextColumn(NamedTuple):
    """n texts in UTF-8: text i is content[offsets[i] : offsets[i + 1]]; an absent one is empty.

    Goes into `pyarrow.StringArray.from_buffers(n, pyarrow.py_buffer(offsets), pyarrow.py_buffer(content))` as it is.
    """

    offsets: NDArray[np.int32]
    content: NDArray[np.uint8]

    def text(self, row: int) -> str:
        """One of the texts; for looking at, not for speed."""
        return self.content[self.offsets[row] : self.offsets[row + 1]].tobytes().decode()


@dataclass(frozen=True, slots=True)
class TableColumns:
    """The events of a chunk in log order, n rows; the same rows as `decode_chunk` gives.

    `texts` has TEXT_FIELDS, event_id, org_id and campaign_id. `lead` and `extra` are JSON objects, empty when absent.
    """

    position: NDArray[np.int64]
    type: NDArray[np.uint8]
    ts_ms: NDArray[np.int64]
    cost_micros: NDArray[np.int64]
    revenue_micros: NDArray[np.int64]
    texts: dict[str, TextColumn]
    lead: TextColumn
    extra: TextColumn

    def __len__(self) -> int:
        return len(self.ts_ms)


@kernel
def _measure(texts: int, kept: NDArray[np.int64], offsets: int, organisation_length: int) -> None:
    """Fill the offsets, SPANS rows of n + 1."""
    stride = kept.shape[0] + 1
    for field in range(SPANS):
        put(offsets, field * stride, 0)
    for k in range(kept.shape[0]):
        for field in range(SPANS):
            length = get(texts, 2 * (SPANS * kept[k] + field) + 1)
            if field == ORG_ID and length == 0:
                length = organisation_length
            put(offsets, field * stride + k + 1, get(offsets, field * stride + k) + length)


@kernel
def _copy(texts: int, kept: NDArray[np.int64], contents: int, organisation: int, organisation_length: int) -> None:
    """Write every column's texts one after another from its address in `contents` on, up to 7 bytes past the end."""
    for k in range(kept.shape[0]):
        for field in range(SPANS):
            source = get(texts, 2 * (SPANS * kept[k] + field))
            length = get(texts, 2 * (SPANS * kept[k] + field) + 1)
            if field == ORG_ID and length == 0:
                source, length = organisation, organisation_length
            target = get(contents, field)
            for at in range(0, length, 8):
                store(target, at, load(source, at))
            put(contents, field, target + length)


def _text_columns(scanned: Scan, org_id: str) -> dict[str, TextColumn]:
    organisation = padded(org_id.encode())
    length = len(organisation) - PADDING
    texts = address(scanned.columns.texts)
    offsets = np.empty((SPANS, len(scanned.kept) + 1), np.int64)
    _measure(texts, scanned.kept, address(offsets), length)
    contents = [np.empty(end + PADDING, np.uint8) for end in offsets[:, -1].tolist()]
    targets = np.array([address(content) for content in contents], np.int64)
    _copy(texts, scanned.kept, address(targets), address(organisation), length)
    narrow = offsets.astype(np.int32)
    return {
        field: TextColumn(narrow[code], contents[code][: offsets[code, -1]]) for code, field in enumerate(SPAN_FIELDS)
    }


def _sparse_column(rows: int, texts: Iterable[tuple[int, bytes]]) -> TextColumn:
    """A column that is empty but for some rows, given in order."""
    lengths = np.zeros(rows + 1, np.int32)
    parts = []
    for row, text in texts:
        lengths[row + 1] = len(text)
        parts.append(text)
    return TextColumn(np.cumsum(lengths, dtype=np.int32), np.frombuffer(b"".join(parts), np.uint8))


def _json_column(scanned: Scan, field: str) -> TextColumn:
    """`lead` or `extra`; only rows that the row decoder read have them."""
    slow = [(row.place, getattr(row.event, field)) for row in scanned.slow]
    present = [(place, _encoder.encode(value)) for place, value in slow if value is not None]
    rows = np.searchsorted(scanned.kept, [place for place, _ in present]).tolist()
    return _sparse_column(len(scanned.kept), zip(rows, (text for _, text in present), strict=True))


def decode_table(chunk: Chunk, *, now_ms: int, org_id: str | None = None) -> TableColumns:
    """The events of a chunk as columns for storage: exactly the rows that `decode_chunk` accepts, in the same order.

    What is refused is left out here. `org_id` as in `decode_chunk`.
    """
    scanned = scan(chunk, now_ms=now_ms, org_id=org_id, series=Uncoded(), with_texts=True)
    columns, kept = scanned.columns, scanned.kept
    return TableColumns(
        position=scanned.positions[kept],
        type=columns.type[kept],
        ts_ms=columns.ts_ms[kept],
        cost_micros=columns.cost_micros[kept],
        revenue_micros=columns.revenue_micros[kept],
        texts=_text_columns(scanned, org_id or DEFAULT_ORG),
        lead=_json_column(scanned, "lead"),
        extra=_json_column(scanned, "extra"),
    )
