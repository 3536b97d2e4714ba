"""What a decoder of records raises on bytes that are none of its own."""

from __future__ import annotations

from typing import Final

# ValueError: msgspec's DecodeError (broken JSON, a page of zeros) and ValidationError (another shape), pydantic's
# ValidationError, and text that is not UTF-8. RecursionError: JSON nested past what the stack holds.
UNREADABLE: Final = (ValueError, RecursionError)
