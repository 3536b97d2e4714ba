"""This program again, in a process of its own."""

from __future__ import annotations

import sys


def itself(*words: str) -> list[str]:
    """The command line of `penstock` with these words, run by the code that runs now: neither what lies in the folder
    that it is started in nor another installed `penstock` goes first.
    """
    return [sys.executable, "-P", "-m", f"{__package__}.main", *words]
