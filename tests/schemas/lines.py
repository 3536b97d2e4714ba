"""Strategies for lines of NDJSON: valid events in many spellings, and the same with one thing broken."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from schemas.events import CHANNELS, MICROS_MAX, PLATFORMS, TEXT_FIELDS, TS_MS_MAX, TS_MS_MIN

NOW_MS = 1_800_000_000_000
TYPES = ("impression", "click", "conversion", "lead")
ID_CHARACTERS = "ABCXYZabcxyz0189_.:-"

_texts = st.one_of(
    st.text(st.sampled_from("abc XYZ-09/._é漢\x7f"), max_size=24),
    st.text(max_size=8),
    st.sampled_from(
        ["", 'quote " and \\ slash', "tab\tnewline\n", "x" * 128, "x" * 129, "é" * 64, "é" * 65, "y" * 2049]
    ),
)
_instants = st.one_of(
    st.integers(NOW_MS - 10**9, NOW_MS),
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.sampled_from(
        [
            "2026-01-31T09:00:00.123456+01:00",
            "2026-01-31 09:00:00Z",
            "2026-01-31t09:00:00z",
            "2024-02-29T23:59:59.9-23:59",
            "2023-02-29T00:00:00Z",
            "2026-01-31T09:00:60Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T09:00:00",
            "2026-01-31T09:00:00.Z",
            "2026-01-31T09:00:00+24:00",
            "2026-01-31T09:00:00-00:00",
            "2000-01-01T00:00:00Z",
            "1999-12-31T23:59:59.999Z",
            "2100-01-01T00:00:00Z",
            "1700000000000",
            TS_MS_MIN,
            TS_MS_MIN - 1,
            TS_MS_MAX,
            NOW_MS + 3_600_000,
            NOW_MS + 3_600_001,
            1_700_000_000,
        ]
    ),
)
_micros = st.one_of(st.integers(0, 10**7), st.sampled_from([MICROS_MAX, MICROS_MAX + 1, -1, 10**18, 10**19, 0]))
_odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    _texts,
    st.just([]),
    st.just({"a": [1, {"b": None}]}),
)


def _values(field: str) -> st.SearchStrategy[Any]:
    if field == "channel":
        return st.sampled_from((*CHANNELS, "", "Display", "radio", "displays"))
    if field == "platform":
        return st.sampled_from((*PLATFORMS, "", "myspace"))
    return _texts


_optional = {
    **{field: _values(field) for field in TEXT_FIELDS},
    "org_id": st.sampled_from(["acme", "default", "", "other", "x" * 129]),
    "cost_micros": _micros,
    "revenue_micros": _micros,
    "lead": st.one_of(st.none(), st.fixed_dictionaries({}, optional={"email": _odd, "form_seconds": _odd, "x": _odd})),
    "unknown": _odd,
    "typ": _odd,
}


@st.composite
def members(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """Keys and values of an event, mostly valid; keys in any order, sometimes twice, sometimes one missing."""
    required = {
        "event_id": st.text(st.sampled_from(ID_CHARACTERS), min_size=1, max_size=64),
        "type": st.sampled_from(TYPES),
        "ts": _instants,
        "campaign_id": st.sampled_from(["cmp-1", "cmp-2", "кампания"]),
    }
    event = draw(st.fixed_dictionaries(required, optional=_optional))
    pairs = draw(st.permutations(list(event.items())))
    match draw(st.integers(0, 9)):
        case 0:
            return pairs[1:]
        case 1:
            return [*pairs, (draw(st.sampled_from(pairs))[0], draw(_odd))]
        case 2:
            return [(draw(st.sampled_from(pairs))[0], draw(_odd)), *pairs]
        case 3:
            broken = draw(st.sampled_from(pairs))[0]
            return [(key, draw(_odd) if key == broken else value) for key, value in pairs]
    return pairs


@st.composite
def well_formed(draw: st.DrawFn) -> bytes:
    """One line of well-formed JSON, by one of the ways in which writers differ."""
    pairs = draw(members())
    ascii_only = draw(st.booleans())
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", "\t: ")]))
    written = separators[0].join(
        json.dumps(key) + separators[1] + json.dumps(value, ensure_ascii=ascii_only) for key, value in pairs
    )
    padding = draw(st.sampled_from(["", "", " ", "\r"]))
    return ("{" + written + "}" + padding).encode("utf-8", "surrogatepass")


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A line with some bytes removed, doubled, or replaced."""
    line = bytearray(draw(well_formed()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(line) - 1)))
        wrong = draw(
            st.sampled_from(
                [
                    b"",
                    b'"',
                    b"\\",
                    b",",
                    b"0",
                    b"-",
                    b".",
                    b"e",
                    b"}",
                    b"{",
                    b"[",
                    b"\x00",
                    b"\xff",
                    b"\xc3",
                    b" ",
                    b"null",
                ]
            )
        )
        line[at : at + draw(st.integers(0, 2))] = wrong
    return bytes(line).replace(b"\n", b" ")


lines = st.one_of(well_formed(), well_formed(), mangled())
