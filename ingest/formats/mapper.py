"""Items through a mapping: names to types, paths to fields, amounts to micros, times to milliseconds."""

from __future__ import annotations

from collections.abc import Mapping as Members
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from ingest.formats.converted import Converted, event_id_of
from ingest.formats.mapping import KNOWN_FIELDS, EventRule, FormatMapping, Money, Paths, Time
from schemas.dead_letters import Reject
from schemas.events import TEXT_BYTES_MAX

_MICROS_OF: Final = {"units": 1_000_000, "cents": 10_000, "micros": 1}
_PER_MS: Final = {"s": Decimal(1_000), "ms": Decimal(1), "us": Decimal("0.001")}
# Amounts and times with more digits than this are nobody's; Python's integers would grow with them.
_DIGITS_MAX: Final = 24
# An odd browser or page is no reason to lose an event.
_CUT: Final = frozenset({"user_agent", "referrer", "keyword"})


def at_path(document: Any, path: str) -> Any:
    """The value at a dot path, None when there is none; numbers are places in arrays, a member may have dots itself.

    >>> at_path({"a": {"b": [{"c": 1}]}}, "a.b.0.c"), at_path({"a.b": 2}, "a.b"), at_path({"a": 1}, "a.b")
    (1, 2, None)
    """
    if isinstance(document, dict) and path in document:
        return document[path]
    for part in path.split("."):
        if isinstance(document, dict):
            document = document.get(part)
        elif isinstance(document, list) and part.isdecimal() and len(part) < 6 and int(part) < len(document):
            document = document[int(part)]
        else:
            return None
    return document


def first_of(document: Any, paths: Paths) -> Any:
    """The first value that is there; empty texts are not."""
    for path in paths:
        value = at_path(document, path)
        if value is not None and value != "":
            return value
    return None


class Mapper:
    """One request's items of one format. `money`: may its sender say costs and revenues?"""

    def __init__(self, mapping: FormatMapping, *, now_ms: int, money: bool = True) -> None:
        self._mapping = mapping
        self._now_ms = now_ms
        self._money = money

    def rule(self, *names: str) -> EventRule | None:
        """For the first of the names that the mapping has; None when it has none of them, or ignores it."""
        for name in names:
            if (rule := self._mapping.events.get(name)) is not None:
                return rule if rule.type != "ignore" else None
        return None

    def put(
        self,
        into: Converted,
        number: int,
        item: bytes,
        document: Members[str, Any],
        rule: EventRule,
        own_id: str | None,
    ) -> None:
        """Put the item into the outcome, as the event that the rule makes of it; `own_id` is its id in its format."""
        event: dict[str, Any] = {"event_id": own_id, "type": rule.type}
        event["ts"] = self._time(document, rule.time or self._mapping.time)
        for target, value in (self._mapping.constants | rule.constants).items():
            _set(event, target, value)
        for target, paths in (self._mapping.fields | rule.fields).items():
            if (value := first_of(document, paths)) is not None:
                _set(event, target, _as_field(target, value))
        if event.get("campaign_id") is None and rule.type != "lead" and rule.without_campaign == "ignore":
            into.ignored["no_campaign"] += 1
            return
        for target, money in (self._mapping.money | rule.money).items():
            if (value := first_of(document, money.paths)) is None:
                continue
            if wrong := _wrong_currency(document, money):
                into.refuse(number, item, Reject.BAD_VALUE, wrong, target)
                return
            event[target] = _micros(value, money)
        self._without_money(into, event)
        into.take(number, item, event)

    def _without_money(self, into: Converted, event: dict[str, Any]) -> None:
        if self._money:
            return
        taken = [event.pop(name, None) for name in ("cost_micros", "revenue_micros")]
        if any(taken):
            into.without_money += 1

    def _time(self, document: Members[str, Any], time: Time) -> Any:
        value = first_of(document, time.paths)
        if value is None:
            return self._now_ms
        if time.unit == "rfc3339":
            return value
        number = _number(value)
        # What is no number stays, and is refused as what it is.
        return value if number is None else int(number * _PER_MS[time.unit])


def _wrong_currency(document: Members[str, Any], money: Money) -> str:
    given = first_of(document, money.currency_paths)
    if not money.currency or given is None or str(given).upper() == money.currency.upper():
        return ""
    return f"is in {str(given)[:20]}; the mapping takes {money.currency}"


def _micros(value: Any, money: Money) -> Any:
    number = _number(value)
    return value if number is None else int((number * _MICROS_OF[money.unit]).to_integral_value())


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < _DIGITS_MAX else None


def _as_field(target: str, value: Any) -> Any:
    if target == "event_id":
        return event_id_of(value)
    if target not in KNOWN_FIELDS and not target.startswith("lead."):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and target != "lead.form_seconds":
        value = str(value)
    if target in _CUT and isinstance(value, str):
        return value.encode()[:TEXT_BYTES_MAX].decode(errors="ignore")
    return value


def _set(event: dict[str, Any], target: str, value: Any) -> None:
    if target.startswith("lead."):
        # A lead's fields are for leads only; the paths are there for all types.
        if event["type"] == "lead":
            event.setdefault("lead", {})[target.removeprefix("lead.")] = value
    else:
        event[target] = value
