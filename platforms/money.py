"""Micros to what platforms take: minor units, decimals, billable steps, minimums."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from typing import Final

# ISO 4217 minor-unit digits where they are not 2.
_DIGITS: Final = {
    "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0,
    "UGX": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
    "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
}  # fmt: skip
MICROS: Final = 1_000_000


def minor_digits(currency: str) -> int:
    """Digits behind the point.

    >>> minor_digits("EUR"), minor_digits("JPY"), minor_digits("KWD")
    (2, 0, 3)
    """
    return _DIGITS.get(currency, 2)


def minor_units(micros: int, currency: str) -> int:
    """Whole minor units, rounded down: a rounded budget or bid never spends more than was decided.

    >>> minor_units(12_345_678, "USD"), minor_units(12_345_678, "JPY")
    (1234, 12)
    """
    return int(micros * 10 ** minor_digits(currency) // MICROS)


def whole_minor_micros(micros: int, currency: str) -> int:
    """Micros rounded down to a whole minor unit, as Google Ads and X ask for.

    >>> whole_minor_micros(12_345_678, "USD")
    12340000
    """
    return int(minor_units(micros, currency) * MICROS // 10 ** minor_digits(currency))


def decimal_text(micros: int, currency: str) -> str:
    """A decimal in currency units with the currency's digits, rounded down.

    >>> decimal_text(12_345_678, "USD"), decimal_text(12_345_678, "JPY")
    ('12.34', '12')
    """
    step = Decimal(1).scaleb(-minor_digits(currency))
    return str((Decimal(micros) / MICROS).quantize(step, rounding=ROUND_DOWN))


def factor(value: float, digits: int = 2) -> float:
    """A bid modifier rounded to what a platform stores.

    >>> factor(1.2345)
    1.23
    """
    return float(Decimal(str(value)).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_EVEN))
