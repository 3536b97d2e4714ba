"""Text as the engine reads it."""

from __future__ import annotations


def quoted(text: str) -> str:
    """A string literal.

    >>> quoted("it's")
    "'it\\\\'s'"
    """
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(name: str) -> str:
    """A quoted identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
