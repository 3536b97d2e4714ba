"""What a driver's exception means, in a few words for a person: no addresses of objects, no passwords, no traces."""

from __future__ import annotations

import re
from typing import Final

WORDS_MAX: Final = 200
_KNOWN: Final = (
    (re.compile(r"connection refused|ECONNREFUSED|Errno 111", re.IGNORECASE), "connection refused; nobody listens"),
    (re.compile(r"name or service not known|failed to resolve|getaddrinfo|no such host", re.IGNORECASE),
     "its host name is not known"),
    (re.compile(r"no module named", re.IGNORECASE), "its driver is not installed"),
    (re.compile(r"json is malformed|decodeerror", re.IGNORECASE), "a file of it is damaged"),
    (re.compile(r"no route to host|network is unreachable", re.IGNORECASE), "its host cannot be reached"),
    (re.compile(r"timed? ?out", re.IGNORECASE), "no answer in time"),
    (re.compile(r"authentication failed|password|code: 516|wrongpass|noauth", re.IGNORECASE),
     "user or password refused"),
    (re.compile(r"code: 81\b|unknown_database", re.IGNORECASE), "its database does not exist"),
    (re.compile(r"code: 60\b|unknown_table", re.IGNORECASE), "its tables do not exist yet"),
    (re.compile(r"code: 202\b|too_many_simultaneous", re.IGNORECASE), "it is busy: too many statements at once"),
    (re.compile(r"code: 243\b|no space left", re.IGNORECASE), "its disk is full"),
    (re.compile(r"connection (reset|aborted)|broken pipe|remote end closed|incompleteread|connection closed",
                re.IGNORECASE), "it broke the connection off"),
)  # fmt: skip
_CLASS: Final = re.compile(r"^\(\w+(\.\w+)+\) ")
_SECRET: Final = re.compile(r"://[^\s/@]*@")
_ADDRESS: Final = re.compile(r"<[^<>]* at 0x[0-9a-f]+>:? ?|0x[0-9a-f]{6,}")


def in_words(error: BaseException) -> str:
    """The meaning of an error of a driver (ClickHouse, Redis, Kafka, SQL), else its first line without secrets.

    >>> in_words(OSError("<urllib3.HTTPConnection object at 0x7f00>: [Errno 111] Connection refused"))
    'connection refused; nobody listens'
    >>> in_words(ValueError("http://me:secret@host is no address"))
    'http://***@host is no address'
    """
    text = str(error).strip()
    for pattern, words in _KNOWN:
        if pattern.search(text):
            return words
    line = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    return _ADDRESS.sub("", _CLASS.sub("", _SECRET.sub("://***@", line)))[:WORDS_MAX]
