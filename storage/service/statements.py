"""What the HTTP interface must know of a statement before the engine sees it: its first word, its format, its rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

# A statement is text; rows may follow it. Text beyond this is not searched for the end of the statement.
STATEMENT_BYTES_MAX: Final = 256 * 1024

# What is opened and never closed reaches to the end: looked for again from every place it would take quadratic time.
_TOKENS: Final = re.compile(
    rb"""
      (?P<space>\s+|--[^\n]*|\#[ !][^\n]*|/\*(?:.*?\*/|.*))
    | (?P<quoted>'(?:[^'\\]|\\.|'')*+(?:'|\\?\Z)|"(?:[^"\\]|\\.|"")*+(?:"|\\?\Z)|`(?:[^`\\]|\\.|``)*+(?:`|\\?\Z)
        |\$(\w*+)\$(?:.*?\$\3\$|.*))
    | (?P<word>[A-Za-z_]\w*)
    | (?P<open>[(\[{])
    | (?P<close>[)\]}])
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)

# Statements whose rows can be sent while the engine still reads: the answer is a result set.
_READING: Final = frozenset({"SELECT", "WITH", "FROM", "VALUES"})
_WITHOUT_ROWS: Final = frozenset({"SELECT", "WITH", "FROM", "VALUES", "WATCH", "INFILE"})


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as it came: `text` for the engine, and for an insert with rows its `rows_format` and `rows`."""

    text: bytes
    # First word in capitals, "(" for a bracketed SELECT, "" for an empty statement.
    verb: str
    # The output format it names; None when it names none.
    output_format: str | None = None
    rows_format: str | None = None
    rows: bytes = b""

    @property
    def reads(self) -> bool:
        """It answers with a result set."""
        return self.verb in _READING or self.verb == "("


def _words(text: bytes) -> Iterator[tuple[int, str, int]]:
    """(depth, word in capitals, end) of the bare words outside quotes and comments; "(" counts as a word."""
    depth = 0
    for token in _TOKENS.finditer(text):
        kind = token.lastgroup
        if token["open"] is not None:
            yield depth, token["open"].decode(), token.end()
            depth += 1
        elif token["close"] is not None:
            depth -= 1
        elif token["word"] is not None:
            yield depth, token["word"].decode().upper(), token.end()
        elif kind == "other" and token["other"] not in b",;.=*<>+-/%?:@!|^":
            yield depth, "", token.end()


def _word_after(text: bytes, at: int) -> tuple[str, int] | None:
    """The next bare word from `at` on, with its own case, and where it ends."""
    for token in _TOKENS.finditer(text, at):
        if token["space"] is not None:
            continue
        return (token["word"].decode(), token.end()) if token["word"] is not None else None
    return None


def _rows_from(body: bytes, at: int) -> bytes:
    """What follows the format's name: blanks and one line break belong to the statement, the rest are rows."""
    while at < len(body) and body[at : at + 1] in (b" ", b"\t", b"\r"):
        at += 1
    if body[at : at + 1] == b";":
        at += 1
    return body[at + 1 :] if body[at : at + 1] == b"\n" else body[at:]


def _insert(head: bytes, body: bytes) -> Statement:
    for depth, word, end in _words(head):
        if depth or word == "INSERT":
            continue
        if word == "FORMAT" and (named := _word_after(head, end)) is not None:
            name, name_end = named
            text = head[: end - len("FORMAT")]
            return Statement(text=text.strip(), verb="INSERT", rows_format=name, rows=_rows_from(body, name_end))
        if word in _WITHOUT_ROWS:
            break
    return Statement(text=body, verb="INSERT")


def _named_format(text: bytes) -> str | None:
    found = None
    for depth, word, end in _words(text):
        if depth == 0 and word == "FORMAT" and (named := _word_after(text, end)) is not None:
            found = named[0]
    return found


def writes_a_file(text: bytes) -> bool:
    """Does it say INTO OUTFILE? The embedded engine acts on that as a client would, and a client it is not.

    >>> writes_a_file(b"SELECT 1 INTO/**/outfile 'x'"), writes_a_file(b"SELECT 'into outfile', outfile FROM t")
    (True, False)
    """
    words = [word for _, word, _ in _words(text[:STATEMENT_BYTES_MAX])]
    return any(pair == ("INTO", "OUTFILE") for pair in pairwise(words))


def statement(query: bytes, body: bytes) -> Statement:
    """The statement of a request: `query` from the URL, then the body, as ClickHouse joins them.

    >>> one = statement(b"", b"INSERT INTO t (a) FORMAT Native\\n\\x01\\x02")
    >>> one.verb, one.text, one.rows_format, one.rows
    ('INSERT', b'INSERT INTO t (a)', 'Native', b'\\x01\\x02')
    >>> statement(b"SELECT 1 FORMAT JSON", b"").output_format
    'JSON'
    """
    # ClickHouse puts a line break between the two, which is also what ends `FORMAT Native`.
    whole = query + b"\n" + body if query and body else query or body
    head = whole[:STATEMENT_BYTES_MAX] if len(whole) > STATEMENT_BYTES_MAX else whole
    verb = next((word for _, word, _ in _words(head)), "")
    if verb == "INSERT":
        return _insert(head, whole)
    if verb == "":
        return Statement(text=whole.strip(), verb="")
    return Statement(text=whole, verb=verb, output_format=_named_format(head))
