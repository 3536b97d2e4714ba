"""Request bodies: who may send how much, how fast, and what may come out of it.

A route of any kind calls `read_body` (or takes `json_body`) and nothing else; FastAPI's own body parameters would be
read before the key is checked.
"""

from api.body.compression import decompress
from api.body.json_body import json_body, parse_json
from api.body.limits import BID, BODY_BYTES_MAX, CORRECTIONS, DEFINITION, EVENTS, WORD, BodyLimit
from api.body.lines import LINES_MAX, to_lines
from api.body.reader import read_body
from api.body.room import ROOM_BYTES_MAX, HoldsBodies
from api.body.work import BodyWork

__all__ = [
    "BID",
    "BODY_BYTES_MAX",
    "CORRECTIONS",
    "DEFINITION",
    "EVENTS",
    "LINES_MAX",
    "ROOM_BYTES_MAX",
    "WORD",
    "BodyLimit",
    "BodyWork",
    "HoldsBodies",
    "decompress",
    "json_body",
    "parse_json",
    "read_body",
    "to_lines",
]
