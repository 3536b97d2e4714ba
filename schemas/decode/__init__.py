"""Events on the wire to columns, rows and tables, and back."""

from schemas.decode.chunk import Decoded, decode_chunk
from schemas.decode.columns import campaign_hash, organisation_hash
from schemas.decode.rows import Refused, decode_row, encode_event
from schemas.decode.series import SeriesTable
from schemas.decode.table import TableColumns, TextColumn, decode_table

__all__ = [
    "Decoded",
    "Refused",
    "SeriesTable",
    "TableColumns",
    "TextColumn",
    "campaign_hash",
    "decode_chunk",
    "decode_row",
    "decode_table",
    "encode_event",
    "organisation_hash",
]
