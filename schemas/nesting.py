"""How deep JSON nests, told before it is parsed: parsers recurse, and stacks end."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

# Arrays and objects within one another; a fixed bound, so that the answer does not depend on the caller's stack.
NESTING_MAX: Final = 64
# Possessive, and an unterminated string matches as well: linear whatever the text holds.
_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+[\\"]?', re.DOTALL)
_NOT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEPS: Final = np.zeros(256, np.int8)
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1


def nests_too_deep(json: bytes) -> bool:
    """Does the text nest deeper than NESTING_MAX? Brackets within strings do not count.

    >>> nests_too_deep(b"[" * 65), nests_too_deep(b"[" * 64), nests_too_deep(b'["' + b"[" * 65 + b'"]')
    (True, False, False)
    """
    if json.count(b"[") + json.count(b"{") <= NESTING_MAX:
        return False
    brackets = np.frombuffer(_STRINGS.sub(b"", json).translate(None, _NOT_BRACKETS), np.uint8)
    depth = np.cumsum(_STEPS[brackets], dtype=np.int32)
    return bool(depth.size and depth.max() > NESTING_MAX)
