"""RFC 3339 timestamps to milliseconds since 1970 UTC; parts below a millisecond are cut off."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from schemas.decode.kernel import inlined
from schemas.decode.memory import load_byte

_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_DAYS_BEFORE_MONTH: Final = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
_DAYS_OF_MONTH: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def rfc3339_ms(text: str) -> int | None:
    """Milliseconds since 1970 UTC; None when the text is not an RFC 3339 instant with a zone.

    A space may stand for the T (RFC 3339, section 5.6). Leap seconds (:60) are not taken.

    >>> rfc3339_ms("2026-01-31T09:00:00.1239+01:00")
    1769846400123
    >>> rfc3339_ms("2026-01-31T09:00:00") is None
    True
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    *fields, fraction, sign, zone_hours, zone_minutes = match.groups()
    if sign is not None and (int(zone_hours) > 23 or int(zone_minutes) > 59):
        return None
    try:
        local = datetime(*(int(field) for field in fields), tzinfo=UTC)  # type: ignore[misc, arg-type]
    except ValueError:
        return None
    minutes_east = 0 if sign is None else int(f"{sign}1") * (60 * int(zone_hours) + int(zone_minutes))
    fraction_ms = int((fraction or "")[:3].ljust(3, "0"))
    return (local - _EPOCH) // _MILLISECOND - 60_000 * minutes_east + fraction_ms


@inlined
def _digits(address: int, at: int, count: int) -> int:
    """The number that `count` digits spell; negative when one of them is no digit."""
    value = 0
    for place in range(count):
        digit = load_byte(address, at + place) - 48
        if digit < 0 or digit > 9:
            return -100_000_000
        value = 10 * value + digit
    return value


@inlined
def _days_since_1970(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01; for years from 1970 on. -1 for a date that is not in the calendar."""
    if year < 1970 or month < 1 or month > 12 or day < 1:
        return -1
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if day > _DAYS_OF_MONTH[month - 1] + (leap and month == 2):
        return -1
    past = year - 1
    leap_days = past // 4 - past // 100 + past // 400 - 477
    return 365 * (year - 1970) + leap_days + _DAYS_BEFORE_MONTH[month - 1] + (leap and month > 2) + day - 1


@inlined
def _zone_minutes(address: int, at: int, left: int) -> int:
    """Minutes east of UTC of what ends an instant: Z or +hh:mm; 10,000 when it is neither."""
    sign = load_byte(address, at)
    if left == 1 and sign == 90:
        return 0
    if left != 6 or (sign != 43 and sign != 45) or load_byte(address, at + 3) != 58:
        return 10_000
    hours, minutes = _digits(address, at + 1, 2), _digits(address, at + 4, 2)
    if hours < 0 or hours > 23 or minutes < 0 or minutes > 59:
        return 10_000
    return 60 * hours + minutes if sign == 43 else -60 * hours - minutes


@inlined
def _fraction_length(address: int, at: int, left: int) -> int:
    """Length of ".digits" at the place, 0 when there is no point; -1 when no digit follows the point."""
    if load_byte(address, at) != 46:
        return 0
    length = 1
    while length < left and 48 <= load_byte(address, at + length) <= 57:
        length += 1
    return length if length > 1 else -1


@inlined
def scan_instant(address: int, at: int, length: int) -> int:
    """Milliseconds of an RFC 3339 instant from 1970 on, in its usual form; -1 for anything else."""
    if length < 20 or load_byte(address, at + 4) != 45 or load_byte(address, at + 7) != 45:
        return -1
    if load_byte(address, at + 10) != 84 or load_byte(address, at + 13) != 58 or load_byte(address, at + 16) != 58:
        return -1
    days = _days_since_1970(_digits(address, at, 4), _digits(address, at + 5, 2), _digits(address, at + 8, 2))
    hour, minute, second = _digits(address, at + 11, 2), _digits(address, at + 14, 2), _digits(address, at + 17, 2)
    if days < 0 or hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return -1
    fraction = _fraction_length(address, at + 19, length - 19)
    zone = _zone_minutes(address, at + 19 + fraction, length - 19 - fraction)
    if fraction < 0 or zone == 10_000:
        return -1
    milliseconds = 0
    for place in range(3):
        digit = load_byte(address, at + 20 + place) - 48 if place + 1 < fraction else 0
        milliseconds = 10 * milliseconds + digit
    return 1_000 * (86_400 * days + 3_600 * hour + 60 * (minute - zone) + second) + milliseconds
