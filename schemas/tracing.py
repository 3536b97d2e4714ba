"""Spans of work, for a tracer that the process may have installed; without one they cost a function call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

# An attribute of this name is the W3C trace context that the work's sender gave.
TRACEPARENT: Final = "traceparent"

Attributes = Mapping[str, str | int | float]
Tracer = Callable[[str, Attributes], AbstractContextManager[Any]]

_OFF: Final[AbstractContextManager[Any]] = nullcontext()
_tracer: Tracer | None = None


def install(tracer: Tracer | None) -> None:
    """From now on spans go there; None: nowhere. For the process's wiring, once."""
    global _tracer
    _tracer = tracer


def span(name: str, **attributes: str | int | float) -> AbstractContextManager[Any]:
    """A context whose duration is told as a span of this name.

    >>> with span("write to the log", records=3): pass
    """
    return _OFF if _tracer is None else _tracer(name, attributes)
