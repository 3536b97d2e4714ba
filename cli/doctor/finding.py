"""What a check says of one part, and helpers that keep secrets and stack traces out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from storage.words import in_words

# How long one part may take to say that it is there.
TIMEOUT_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One checked part. `mend` says what to do; empty when all is well."""

    part: str
    ok: bool
    seen: str
    mend: str = ""


def first_line(error: BaseException) -> str:
    """What a driver's exception means, in a few words and without secrets."""
    return in_words(error)


def without_password(url: str) -> str:
    """The URL with its password hidden, for a screen.

    >>> without_password("http://me:secret@host:8123/db")
    'http://me:***@host:8123/db'
    """
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":***@", 1)
