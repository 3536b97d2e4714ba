"""One correction as a person or a program gives it. No I/O."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from schemas.campaigns import Identifier
from schemas.corrections import COUNT_MAX, COUNTERS, MICROS_MAX, NOTE_CHARS_MAX, Cause, Grain
from schemas.events import CHANNELS, EVENT_ID_PATTERN, TS_MS_MAX, TS_MS_MIN

REFERENCE_CHARS_MAX: Final = 200

_Count = Annotated[int, Field(ge=-COUNT_MAX, le=COUNT_MAX, strict=True)]
_Micros = Annotated[int, Field(ge=-MICROS_MAX, le=MICROS_MAX, strict=True)]
# No control characters: a reference is shown on terminals and in tables.
_Reference = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]+$", max_length=REFERENCE_CHARS_MAX)]
_Note = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$", max_length=NOTE_CHARS_MAX)]
_Dimension = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$", max_length=500)]
DIMENSIONS: Final = ("creative_id", "channel", "country", "device", "event_id")


class GivenCause(StrEnum):
    """Why; what the store finds by itself nobody may say."""

    VERDICT_REVISED = Cause.VERDICT_REVISED.value
    REFUND = Cause.REFUND.value
    ERASURE = Cause.ERASURE.value
    PLATFORM_INVOICE = Cause.PLATFORM_INVOICE.value
    NOTE = Cause.NOTE.value


class Given(BaseModel):
    """Signed changes of what was counted at a time (`ts_ms`) or on a day of the campaign's (`day`).

    `invoiced_micros` in place of changes: what the platform bills for the day; the change is what it differs by from
    what stands there. The same `reference`, cause and campaign are the same correction, sent however often.
    """

    model_config = ConfigDict(extra="forbid")

    campaign_id: Identifier
    cause: GivenCause
    reference: _Reference
    day: date | None = None
    ts_ms: Annotated[int, Field(ge=TS_MS_MIN, le=TS_MS_MAX, strict=True)] | None = None
    impressions: _Count = 0
    clicks: _Count = 0
    conversions: _Count = 0
    leads: _Count = 0
    spend_micros: _Micros = 0
    revenue_micros: _Micros = 0
    invoiced_micros: Annotated[int, Field(ge=0, le=MICROS_MAX, strict=True)] | None = None
    currency: Annotated[str, StringConstraints(pattern=r"^([A-Z]{3})?$")] = ""
    creative_id: _Dimension = ""
    channel: _Dimension = ""
    country: _Dimension = ""
    device: _Dimension = ""
    event_id: Annotated[str, StringConstraints(pattern=rf"^$|{EVENT_ID_PATTERN}")] = ""
    note: _Note = ""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.day is None) == (self.ts_ms is None):
            raise ValueError("name day or ts_ms, one of them")
        changes = [name for name in COUNTERS if getattr(self, name)]
        if self.invoiced_micros is not None and (changes or self.day is None):
            raise ValueError("invoiced_micros goes with day, and with no change beside it")
        if self.invoiced_micros is None and not changes:
            raise ValueError("nothing is changed: name a counter, spend_micros, revenue_micros or invoiced_micros")
        if self.day is not None and (named := [name for name in DIMENSIONS if getattr(self, name)]):
            raise ValueError(f"{named[0]} goes with ts_ms: a correction of a day is one of the whole campaign")
        if self.channel not in ("", *CHANNELS):
            raise ValueError(f"channel is one of {', '.join(CHANNELS)}")
        return self

    @property
    def grain(self) -> Grain:
        """By day where nobody knows more exactly."""
        return Grain.MOMENT if self.day is None else Grain.DAY
