"""The one line of a log that says why its process ended."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

TAIL_BYTES: Final = 64 * 1024
WORDS_MAX: Final = 300
_OWN: Final = re.compile(r"^penstock(?: \w+)?: (.+)")
_LOGGED: Final = re.compile(r"\b(?:ERROR|CRITICAL)\b[: ]+(.+)")
_RAISED: Final = re.compile(r"^(?:\w+\.)*(\w*(?:Error|Exception|Interrupt|Exit|Panic\w*)): (.+)")
# The dataflow's engine is Rust: what it could not unwrap is the reason.
_PANICKED: Final = re.compile(r"^called `\w+::\w+\(\)` on an `Err` value: (.+)")
_USAGE: Final = re.compile(r"^(?:Error|│ Invalid value)[: ]+(.+?)\s*│?$")


def last_words(log: Path, offset: int = 0) -> str:
    """Why a process ended, from what its log says from `offset` on; empty when it says nothing."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(min(offset, end), end - TAIL_BYTES))
            return reason_of(file.read(TAIL_BYTES).decode(errors="replace"))
    except OSError:
        return ""


def reason_of(text: str) -> str:
    """The last line that names a reason, else the last line.

    >>> reason_of("INFO starts\\npenstock flow: the store belongs to another log\\nbye")
    'the store belongs to another log'
    >>> reason_of("Traceback (most recent call last):\\n  File x\\nValueError: no such\\n")
    'ValueError: no such'
    >>> reason_of('{"level": "ERROR", "message": "the disk is full"}')
    'the disk is full'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in reversed(lines):
        if (reason := _reason(line)) is not None:
            return reason[:WORDS_MAX]
    return lines[-1][:WORDS_MAX] if lines else ""


def _reason(line: str) -> str | None:
    if line.startswith("{"):
        return _logged(line)
    if raised := _RAISED.match(line):
        return f"{raised[1]}: {raised[2]}"
    for pattern in (_OWN, _LOGGED, _PANICKED, _USAGE):
        if found := pattern.search(line):
            return found[1]
    return None


def _logged(line: str) -> str | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or record.get("level") not in ("ERROR", "CRITICAL"):
        return None
    raised = str(record.get("exception", "")).strip().splitlines()
    return raised[-1] if raised else str(record.get("message", ""))
