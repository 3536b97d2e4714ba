"""Events on the wire to columns, rows and tables, and back."""

from schemas.decode.chunk import Decoded, decode_chunk
from schemas.decode.columns import feature_hash
from schemas.decode.rows import Refused, decode_row, encode_event
from schemas.decode.series import SeriesTable
from schemas.decode.table import TableColumns, TextColumn, decode_table

__all__ = [
    "Decoded",
    "Refused",
    "SeriesTable",
    "TableColumns",
    "TextColumn",
    "decode_chunk",
    "decode_row",
    "decode_table",
    "encode_event",
    "feature_hash",
]
