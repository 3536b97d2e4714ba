"""Lines of NDJSON from a seed: events in many spellings, kept lines, and both with bytes and members changed."""

from __future__ import annotations

import json
import re
from random import Random

from schemas.events import CHANNELS, EVENT_BYTES_MAX, MICROS_MAX, PLATFORMS, TS_MS_MAX, TS_MS_MIN
from tests.schemas.decode_reference import KNOWN, LEAD_FIELDS, TYPES

NOW_MS = 1_800_000_000_000
ORGS = ("acme", "default", "beta", "")

NUMBERS = (
    *b"0 -0 00 01 -1 1 0.0 1.0 1e0 1E+2 10e-1 1e400 -1e400 1e-400 1. .5 + - 1e 0x1 1_0 NaN Infinity".split(),
    *(b"%d" % number for number in (10**17, 10**18 - 1, 10**18, 10**19, 2**63 - 1, 2**63, 2**64 - 1, 2**64)),
    *(b"%d" % number for number in (-(2**63), -(2**63) - 1, MICROS_MAX, MICROS_MAX + 1, TS_MS_MIN - 1, TS_MS_MIN)),
    *(b"%d" % number for number in (TS_MS_MAX, TS_MS_MAX + 1, NOW_MS, NOW_MS + 3_600_000, NOW_MS + 3_600_001)),
    *(b"0" * 19 + b"1", b"9" * 30, b"1" * 308, b"1" * 310, b"1" * 5_000, b"0." + b"3" * 400, b"1" * 25 + b".5"),
)
# Between quotes.
_TEXTS = (
    *(b"", b"\\u0000", b"\\ud800", b"\\udc00", b"\\ud83d\\ude00", b"\\ud83d", b"\\uD83Dx", b"\\u12", b"\\x", b"\\"),
    *(
        b"\\n\\t\\/\\b",
        b"\x1f",
        b"\x7f",
        b"\x00",
        b"\xc3\xa9",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xc0\xaf",
        b"\xff",
        b"a\\u0000b",
    ),
    *(
        b"\xf4\x90\x80\x80",
        b"\xf0\x9f\x98\x80",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xa8",
        b"searc",
        b"facebookx",
        b"clicks",
        b"Search",
    ),
    *(b"x" * length for length in (7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, 2_047, 2_048, 2_049)),
    *("é".encode() * length for length in (4, 32, 64, 65, 1_024, 1_025)),
    *(name.encode() for name in (*CHANNELS, *PLATFORMS, *TYPES)),
)
TEXTS = (*(b'"' + text + b'"' for text in _TEXTS), b"'x'", b'"')
INSTANTS = tuple(
    f'"{text}"'.encode()
    for text in (
        "2026-01-31T09:00:00Z", "2026-01-31T09:00:00.123456+01:00", "2026-01-31 09:00:00Z", "2026-01-31t09:00:00z",
        "2024-02-29T23:59:59.9-23:59", "2023-02-29T00:00:00Z", "2026-01-31T09:00:60Z", "2026-01-31T24:00:00Z",
        "2026-01-31T09:00:00", "2026-01-31T09:00:00.Z", "2026-01-31T09:00:00+24:00", "2026-01-31T09:00:00-00:00",
        "2000-01-01T00:00:00Z", "1999-12-31T23:59:59.999Z", "2100-01-01T00:00:00Z", "1969-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "2026-13-01T00:00:00Z", "2026-1-31T09:00:00Z",
        "2026-01-31T09:00:00.1234567890123456789Z", "2026-01-31T09:00:00+0100", "２026-01-31T09:00:00Z",
    )
)  # fmt: skip
OTHERS = (
    *(b"null", b"true", b"false", b"nul", b"nullx", b"truefalse", b"True", b"[]", b"{}", b"[1,]", b'{"a":1,}', b"[[]]"),
    *(b"[" * depth + b"]" * depth for depth in (62, 63, 64, 65, 200)),
    *(b'{"a":' * depth + b"1" + b"}" * depth for depth in (62, 63, 64)),
    *(b'{"email":"a@b.c","city":"Ulm"}', b'{"form_seconds":1e400}', b'{"form_seconds":-0}', b'{"email":1}'),
    *(
        b'{"form_seconds":' + b"9" * 400 + b"}",
        b'{"consent":{"a":[1,2.50,1e2]},"consent":null}',
        b'"' + b"[" * 70 + b'"',
    ),
)
VALUES = (*NUMBERS, *TEXTS, *INSTANTS, *OTHERS)
# What is put anywhere.
PIECES = (
    *(bytes([byte]) for byte in b'"\\,:{}[]0-.e \t\r\n#\x00\x0b\x0c\xff\xc3\xa0'),
    *(b"\xc2\xa0", b"\xef\xbb\xbf", b"\\u0065", b"\\ud800", b"null", b"//", b"/**/"),
)
_MEMBER = re.compile(rb'"(?:[^"\\]|\\.)*"\s*:\s*(?:"(?:[^"\\]|\\.)*"|[^,{}\[\]"]+)')
_SPACE = (b"", b"", b"", b" ", b"\t", b"\r", b"  ")
_KEYS = (*KNOWN, *KNOWN, *LEAD_FIELDS, "x", "", "typ", "types", "campaign_ix", "revenue_microsx", "event_id ", "Type")


def _plain(random: Random, field: str) -> bytes:
    """A value that the field may have."""
    if field == "type":
        return json.dumps(random.choice(list(TYPES))).encode()
    if field == "ts":
        return random.choice(INSTANTS[:2]) if random.random() < 0.2 else b"%d" % random.randint(TS_MS_MIN, NOW_MS)
    if field.endswith("_micros"):
        return b"%d" % random.randint(0, 10 ** random.randint(1, 12))
    if field in ("channel", "platform"):
        return json.dumps(random.choice(CHANNELS if field == "channel" else PLATFORMS)).encode()
    if field == "org_id":
        return json.dumps(random.choice(ORGS)).encode()
    if field == "lead":
        return b"null"
    letters = "abcXYZ019_.:-" if field == "event_id" or random.random() < 0.8 else "ab é漢😀/{}[],:"
    text = "".join(random.choices(letters, k=random.choice((1, 2, 7, 8, 9, 16, 17, 24, 40))))
    return json.dumps(text, ensure_ascii=field != "event_id" and random.random() < 0.2).encode()


def _members(random: Random) -> list[tuple[bytes, bytes]]:
    fields = ["event_id", "type", "ts", "campaign_id", *random.sample(KNOWN, random.randint(0, 8))]
    fields = list(dict.fromkeys(fields))
    if random.random() < 0.2:
        fields.append(random.choice(_KEYS))
    random.shuffle(fields)
    return [(json.dumps(field).encode(), _plain(random, field)) for field in fields]


def event(random: Random) -> bytes:
    """A line that is an event, nearly always."""
    space = _SPACE if random.random() < 0.3 else (b"",)
    members = [
        random.choice(space) + key + random.choice(space) + b":" + random.choice(space) + value + random.choice(space)
        for key, value in _members(random)
    ]
    return random.choice(space) + b"{" + b",".join(members) + b"}" + random.choice(space)


def _with_value(random: Random, line: bytes) -> bytes:
    """Another value for a member."""
    spans = list(_MEMBER.finditer(line))
    if not spans:
        return line
    span = random.choice(spans)
    key, colon, _ = span.group().partition(b":")
    return line[: span.start()] + key + colon + random.choice(VALUES) + line[span.end() :]


def _with_key(random: Random, line: bytes) -> bytes:
    """Another key for a member: one that is known, one cut or longer, one with an escape."""
    spans = list(_MEMBER.finditer(line))
    if not spans:
        return line
    span = random.choice(spans)
    key = random.choice(_KEYS).encode()
    if random.random() < 0.3:
        key = random.choice((key[:-1], key + b"x", key[:8], b"\\u%04x" % (key or b"x")[0] + key[1:], key + b"\x00"))
    _, colon, value = span.group().partition(b":")
    return line[: span.start()] + b'"' + key + b'"' + colon + value + line[span.end() :]


def _with_member(random: Random, line: bytes) -> bytes:
    """One member more, of a key that is there already or not, at either end."""
    spans = list(_MEMBER.finditer(line))
    key = json.dumps(random.choice(_KEYS)).encode()
    value = random.choice(VALUES)
    if spans and random.random() < 0.5:
        key, _, value = random.choice(spans).group().partition(b":")
        value = value if random.random() < 0.4 else random.choice(VALUES)
    begin, end = line.find(b"{") + 1, line.rfind(b"}")
    member = key + b":" + value
    return (
        line[:begin] + member + b"," + line[begin:]
        if random.random() < 0.5
        else line[:end] + b"," + member + line[end:]
    )


def _without(random: Random, line: bytes) -> bytes:
    spans = list(_MEMBER.finditer(line))
    if not spans:
        return line
    span = random.choice(spans)
    return (line[: span.start()] + line[span.end() :]).replace(b",,", b",").replace(b"{,", b"{").replace(b",}", b"}")


def _with_piece(random: Random, line: bytes) -> bytes:
    at = random.randint(0, len(line))
    return line[:at] + random.choice(PIECES) + line[at + random.choice((0, 0, 1, 2)) :]


def _with_byte(random: Random, line: bytes) -> bytes:
    at = random.randint(0, max(0, len(line) - 1))
    return line[:at] + bytes([random.randrange(256)]) + line[at + 1 :]


def _cut(random: Random, line: bytes) -> bytes:
    at = random.randint(0, len(line))
    return random.choice((line[:at], line[at:], line[:at] + line[random.randint(0, len(line)) :]))


def _escaped(random: Random, line: bytes) -> bytes:
    """A letter of the line as an escape."""
    at = random.randint(0, max(0, len(line) - 1))
    return line[:at] + b"\\u%04X" % line[at] + line[at + 1 :] if line[at : at + 1].isalnum() else line


def _long(random: Random, line: bytes) -> bytes:
    """The line as long as a line may be, or just not."""
    missing = EVENT_BYTES_MAX - len(line) + random.choice((-1, 0, 1))
    if random.random() < 0.5:
        return line + b" " * missing
    return line.replace(b"{", b'{"x":"' + b"y" * max(0, missing - 7) + b'",', 1)


_CHANGES = (_with_value,) * 6 + (_with_key,) * 3 + (_with_member,) * 3 + (_with_piece,) * 4
_CHANGES += (_with_byte,) * 2 + (_without, _cut, _escaped, _escaped)


def line_of(random: Random, corpus: list[bytes]) -> bytes:
    """One line, or what a newline put into it makes of it."""
    line = random.choice(corpus) if random.random() < 0.25 else event(random)
    for _ in range(random.choice((0, 0, 1, 1, 1, 2, 3))):
        line = random.choice(_CHANGES)(random, line)
    return _long(random, line) if random.random() < 0.002 else line
