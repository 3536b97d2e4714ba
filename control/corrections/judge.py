"""What becomes of each correction that was given: sent, known already, or refused with the mend. No I/O of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol

from control.corrections.given import DIMENSIONS, Given
from schemas.campaigns import Campaign
from schemas.corrections import COUNTERS, Cause, Correction, correction_id
from schemas.events import ID_BYTES_MAX, TS_MS_MAX, TS_MS_MIN
from schemas.kpis import ALLOWED_LATENESS_MS
from schemas.zones import zone_of

# An invoice of so many times what was counted, or such a part of it, is in another unit, or read another way.
INVOICE_FACTOR_MAX: Final = 500
_DAY_MS: Final = 86_400_000


class Books(Protocol):
    """What ClickHouse has of an organisation. Blocking; raises its client's exceptions."""

    def corrections_by_id(self, org_id: str, ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """The corrections with these ids, as rows of `corrections`; times in ms."""
        ...

    def spend_of_days(self, org_id: str, campaign_id: str, low_ms: int, high_ms: int) -> Sequence[tuple[int, int, int]]:
        """Start and end (ms) and spend (micros) of the campaign's days that touch [low_ms, high_ms]."""
        ...

    def has_campaign(self, org_id: str, campaign_id: str) -> bool:
        """Whether anything was ever counted for the campaign."""
        ...


class Outcome(StrEnum):
    """What became of a line."""

    # It will be sent, or was.
    SENT = "sent"
    # It was applied before, or stands twice in the same request.
    KNOWN = "known"
    # The day has what the invoice says.
    NOTHING = "nothing"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one line (its number, from 1 on); `correction` is there where it is to be sent."""

    line: int
    reference: str
    outcome: Outcome
    detail: str = ""
    correction_id: str = ""
    correction: Correction | None = None


class RefusedError(Exception):
    """Why a line is refused, and what to do."""


class Judge:
    """Answers the lines of one request or file, of one organisation.

    `definition` gives a campaign's definition; `books` is None where there is no ClickHouse: then campaigns need a
    definition, and invoiced amounts cannot be compared.
    """

    def __init__(
        self,
        org_id: str,
        *,
        by: str,
        now_ms: int,
        definition: Callable[[str], Campaign | None],
        books: Books | None,
    ) -> None:
        self._org_id = org_id
        self._by = by.encode()[:ID_BYTES_MAX].decode(errors="ignore")
        self._now_ms = now_ms
        self._definition = definition
        self._books = books
        self._campaigns: dict[str, Campaign | None] = {}
        self._unknown: set[str] = set()
        # Start, end and spend of the days of campaigns that invoiced amounts are about.
        self._days: dict[str, Sequence[tuple[int, int, int]]] = {}
        self._lines: dict[str, tuple[int, Given]] = {}
        self._invoiced: dict[tuple[str, date], int] = {}

    def answers(self, given: Iterable[tuple[int, Given]]) -> list[Answer]:
        """An answer for each (line, correction), in their order."""
        lines = list(given)
        ids = [correction_id(Cause(each.cause.value), self._org_id, each.campaign_id, each.reference)
               for _, each in lines]  # fmt: skip
        rows = self._books.corrections_by_id(self._org_id, list(dict.fromkeys(ids))) if self._books and ids else ()
        known = {row["correction_id"]: row for row in rows}
        self._look_up_days([each for _, each in lines if each.invoiced_micros is not None and each.day is not None])
        return [self._answer(*line, found, known.get(found)) for line, found in zip(lines, ids, strict=True)]

    def _look_up_days(self, invoiced: Sequence[Given]) -> None:
        """One question for each campaign, however many days an invoice has."""
        spans: dict[str, tuple[date, date]] = {}
        for given in invoiced:
            assert given.day is not None
            low, high = spans.get(given.campaign_id, (given.day, given.day))
            spans[given.campaign_id] = min(low, given.day), max(high, given.day)
        for campaign_id, (low, high) in spans.items():
            if self._books is not None:
                low_ms, high_ms = _utc_ms(low) - 2 * _DAY_MS, _utc_ms(high) + 2 * _DAY_MS
                self._days[campaign_id] = self._books.spend_of_days(self._org_id, campaign_id, low_ms, high_ms)

    def _answer(self, line: int, given: Given, found: str, known: Mapping[str, Any] | None) -> Answer:
        try:
            outcome, detail, correction = self._judged(line, given, found, known)
        except RefusedError as error:
            outcome, detail, correction = Outcome.REFUSED, str(error), None
        return Answer(line, given.reference, outcome, detail, found, correction)

    def _judged(
        self, line: int, given: Given, found: str, known: Mapping[str, Any] | None
    ) -> tuple[Outcome, str, Correction | None]:
        campaign = self._campaign(given.campaign_id)
        if campaign is not None and given.currency not in ("", campaign.currency):
            raise RefusedError(f"the campaign's currency is {campaign.currency}, not {given.currency}")
        if (before := self._lines.setdefault(found, (line, given))) != (line, given):
            if before[1] == given:
                return Outcome.KNOWN, f"the same as line {before[0]}", None
            raise RefusedError(f"line {before[0]} has the same reference and says something else: give it another")
        start_ms, end_ms = self._day(campaign, given)
        ts_ms = (start_ms + end_ms) // 2 if given.ts_ms is None else given.ts_ms
        if known is not None:
            return self._known(given, known, ts_ms, (start_ms, end_ms))
        if start_ms > self._now_ms:
            raise RefusedError("it is of a time that is not yet; a correction changes what was counted")
        change = {name: getattr(given, name) for name in COUNTERS}
        if given.invoiced_micros is not None:
            change["spend_micros"] = self._difference(line, given, start_ms, end_ms)
            if not change["spend_micros"]:
                return Outcome.NOTHING, "the day has just that", None
        return Outcome.SENT, _said(change), self._correction(given, found, ts_ms, change)

    def _correction(self, given: Given, found: str, ts_ms: int, change: Mapping[str, int]) -> Correction:
        return Correction(
            correction_id=found, org_id=self._org_id, campaign_id=given.campaign_id, ts_ms=ts_ms,
            cause=Cause(given.cause.value), grain=given.grain, by=self._by, noted_ms=self._now_ms, note=given.note,
            **{name: getattr(given, name) for name in DIMENSIONS}, **change,  # type: ignore[arg-type]
        )  # fmt: skip

    def _campaign(self, campaign_id: str) -> Campaign | None:
        """Its definition, or None for one that has events and no definition."""
        if campaign_id not in self._campaigns and campaign_id not in self._unknown:
            definition = self._definition(campaign_id)
            if definition is None and not (self._books and self._books.has_campaign(self._org_id, campaign_id)):
                self._unknown.add(campaign_id)
            else:
                self._campaigns[campaign_id] = definition
        if campaign_id in self._unknown:
            raise RefusedError(f"there is no campaign {campaign_id!r} in this organisation")
        return self._campaigns[campaign_id]

    def _day(self, campaign: Campaign | None, given: Given) -> tuple[int, int]:
        """The day's start and end (ms), or those of the moment."""
        if given.day is None:
            return given.ts_ms or 0, (given.ts_ms or 0) + 1
        zone = zone_of(campaign.time_zone if campaign is not None else "UTC")
        try:
            midnights = [datetime(d.year, d.month, d.day, tzinfo=zone).timestamp() for d in
                         (given.day, given.day + timedelta(days=1))]  # fmt: skip
        except OverflowError:
            raise RefusedError(f"{given.day} is no day of a campaign") from None
        start_ms, end_ms = (round(midnight * 1_000) for midnight in midnights)
        if not TS_MS_MIN <= start_ms <= TS_MS_MAX - _DAY_MS:
            raise RefusedError(f"{given.day} is no day of a campaign")
        return start_ms, end_ms

    def _known(
        self, given: Given, known: Mapping[str, Any], ts_ms: int, day: tuple[int, int]
    ) -> tuple[Outcome, str, None]:
        refused = ", and was refused: a total would have gone below zero" if known["refused"] else ""
        same = known["ts_ms"] == ts_ms and (
            given.invoiced_micros is not None or all(known[name] == getattr(given, name) for name in COUNTERS)
        )
        if not same:
            told = _said({name: known[name] for name in COUNTERS})
            raise RefusedError(f"its reference stands for another correction already ({told}): give it another")
        more = ""
        if given.invoiced_micros is not None and (spent := self._spent(given, *day)) != given.invoiced_micros:
            more = f"; the day has {spent} micros now: to correct it further give another reference"
        return Outcome.KNOWN, f"applied before{refused}{more}", None

    def _difference(self, line: int, given: Given, start_ms: int, end_ms: int) -> int:
        """Micros by which the invoice differs from the day."""
        assert given.day is not None
        assert given.invoiced_micros is not None
        if self._books is None:
            raise RefusedError("an invoiced amount is compared with ClickHouse, which is not there: give the change")
        if end_ms + ALLOWED_LATENESS_MS > self._now_ms:
            raise RefusedError("the day is not over: what it cost still changes")
        first = self._invoiced.setdefault((given.campaign_id, given.day), line)
        if first != line:
            raise RefusedError(f"line {first} has an invoiced amount of that day already: add them up")
        spent = self._spent(given, start_ms, end_ms)
        if spent is None:
            raise RefusedError(
                "ClickHouse has nothing of that day, or not yet: see whether `penstock store` has caught up. If it "
                "cost something all the same, give the change"
            )
        less, more = sorted((spent, given.invoiced_micros))
        if less and more > INVOICE_FACTOR_MAX * less:
            raise RefusedError(
                f"it is not within {INVOICE_FACTOR_MAX:,} times the {spent} micros of the day: is it in another unit?"
            )
        return given.invoiced_micros - spent

    def _spent(self, given: Given, start_ms: int, end_ms: int) -> int | None:
        """Micros that stand there for the day; None where ClickHouse has no such day."""
        noon = (start_ms + end_ms) // 2
        days = self._days.get(given.campaign_id, ())
        return next((spend for low, high, spend in days if low <= noon < high), None)


def _utc_ms(day: date) -> int:
    return (day.toordinal() - date(1970, 1, 1).toordinal()) * _DAY_MS


def _said(change: Mapping[str, int]) -> str:
    """The changes in words.

    >>> _said({"clicks": -1, "leads": 0, "spend_micros": -2_500_000})
    'clicks -1, spend -2.5'
    """
    return ", ".join(
        f"{name.removesuffix('_micros')} {units(value) if name.endswith('_micros') else format(value, '+d')}"
        for name, value in change.items()
        if value
    )


def units(micros: int) -> str:
    """Signed units of a currency.

    >>> units(-2_500_000), units(1)
    ('-2.5', '+0.000001')
    """
    whole, rest = divmod(abs(micros), 1_000_000)
    decimals = f".{rest:06d}".rstrip("0") if rest else ""
    return f"{'-' if micros < 0 else '+'}{whole}{decimals}"
