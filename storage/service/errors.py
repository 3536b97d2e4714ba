"""ClickHouse's errors: their codes, their words, and the HTTP status each is answered with."""

from __future__ import annotations

import re
from typing import Final

_CODE: Final = re.compile(r"Code: (\d+)\. ")
_ROWS_IN_MEMORY: Final = re.compile(r":? \(in file/uri /proc/self/fd/\d+\)")
_PARSED_BY_US: Final = re.compile(r":? In scope SELECT formatQuerySingleLine\(.*\)(?=\. \()", re.DOTALL)
_TEXT_MAX: Final = 8_192

CHECKSUM_DOESNT_MATCH: Final = 40
SYNTAX_ERROR: Final = 62
UNKNOWN_DATABASE: Final = 81
UNKNOWN_FORMAT: Final = 73
INCORRECT_DATA: Final = 117
READONLY: Final = 164
UNKNOWN_COMPRESSION_METHOD: Final = 89
BAD_ARGUMENTS: Final = 36
TIMEOUT_EXCEEDED: Final = 159
TOO_MANY_SIMULTANEOUS_QUERIES: Final = 202
TOO_MANY_BYTES: Final = 307
INTO_OUTFILE_NOT_ALLOWED: Final = 358
ACCESS_DENIED: Final = 497
AUTHENTICATION_FAILED: Final = 516

_NAMES: Final = {
    CHECKSUM_DOESNT_MATCH: "CHECKSUM_DOESNT_MATCH",
    SYNTAX_ERROR: "SYNTAX_ERROR",
    UNKNOWN_DATABASE: "UNKNOWN_DATABASE",
    UNKNOWN_FORMAT: "UNKNOWN_FORMAT",
    INCORRECT_DATA: "INCORRECT_DATA",
    READONLY: "READONLY",
    UNKNOWN_COMPRESSION_METHOD: "UNKNOWN_COMPRESSION_METHOD",
    BAD_ARGUMENTS: "BAD_ARGUMENTS",
    TIMEOUT_EXCEEDED: "TIMEOUT_EXCEEDED",
    TOO_MANY_SIMULTANEOUS_QUERIES: "TOO_MANY_SIMULTANEOUS_QUERIES",
    TOO_MANY_BYTES: "TOO_MANY_BYTES",
    INTO_OUTFILE_NOT_ALLOWED: "INTO_OUTFILE_NOT_ALLOWED",
    ACCESS_DENIED: "ACCESS_DENIED",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
}

# As in ClickHouse, src/Server/HTTP/exceptionCodeToHTTPStatus.cpp; what is not listed is 500. Two differ: a full queue
# is 503, which clients retry, and a write by a reader is 403, which they do not.
_STATUS: Final = {
    **dict.fromkeys((194,), 401),
    **dict.fromkeys((192, 193, 195, READONLY, ACCESS_DENIED, AUTHENTICATION_FAILED, INTO_OUTFILE_NOT_ALLOWED), 403),
    **dict.fromkeys((6, 26, 27, 33, 36, 38, 41, 42, 43, 44, 53, 61, SYNTAX_ERROR, 69, 70, 72, 75, 117), 400),
    **dict.fromkeys((130, 131, 306, 321, 336, 370, 386, 395, 456, 457, 467, 471, 472, 632), 400),
    **dict.fromkeys((UNKNOWN_COMPRESSION_METHOD, CHECKSUM_DOESNT_MATCH), 400),
    **dict.fromkeys((16, 18, 46, 47, 50, 56, 60, 63, 73, 79, UNKNOWN_DATABASE, 83, 98, 110, 115, 120, 408), 404),
    TIMEOUT_EXCEEDED: 408,
    48: 501,
    **dict.fromkeys((209, 439, 76, TOO_MANY_SIMULTANEOUS_QUERIES), 503),
}


class ServiceError(Exception):
    """An error with ClickHouse's code; `str()` is the text that goes to the client."""

    def __init__(self, code: int, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self._status = status

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._status or _STATUS.get(self.code, 500)


def refused(code: int, detail: str, *, status: int | None = None) -> ServiceError:
    """An error that the service itself raises, worded as ClickHouse words its own.

    >>> str(refused(READONLY, "analyst: Cannot execute query in readonly mode."))
    'Code: 164. DB::Exception: analyst: Cannot execute query in readonly mode. (READONLY)'
    """
    return ServiceError(code, f"Code: {code}. DB::Exception: {detail} ({_NAMES[code]})", status)


def from_engine(error: Exception) -> ServiceError:
    """The engine's exception as an error with its code; 1001 (STD_EXCEPTION) when its text names none."""
    # Rows of an insert are read from memory, and a reader's statement is parsed by a statement of the service: where
    # and how means nothing to a client. Nor does a message with the whole statement in it.
    text = _ROWS_IN_MEMORY.sub("", str(error))
    text = _PARSED_BY_US.sub("", text)
    if len(text) > _TEXT_MAX:
        text = f"{text[: _TEXT_MAX // 2]} ... {text[-_TEXT_MAX // 2 :]}"
    found = _CODE.search(text)
    if found is None:
        return ServiceError(1001, f"Code: 1001. DB::Exception: {text} (STD_EXCEPTION)")
    return ServiceError(int(found[1]), text[found.start() :])
