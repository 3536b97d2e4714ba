"""The mapping: which items of another format are events of ours, and where their fields are."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError

from schemas.events import TEXT_FIELDS

# A mapping of a hundred events has some 20 KiB; it is read once, at the start.
MAPPING_BYTES_MAX: Final = 1024 * 1024
# What has a place of its own in a mapping, and what no sender says.
_ELSEWHERE: Final = {
    "type": "the event's `type`",
    "ts": "`time`",
    "cost_micros": "`money`",
    "revenue_micros": "`money`",
    "org_id": "the key",
    "lead": "`lead.email` and so on",
}
KNOWN_FIELDS: Final = frozenset({"event_id", "campaign_id", *TEXT_FIELDS})


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


def _target(name: str) -> str:
    if name in _ELSEWHERE:
        raise ValueError(f"{name} is not mapped here: {_ELSEWHERE[name]} says it")
    return name


_Path = Annotated[str, StringConstraints(min_length=1, max_length=200)]
# The first path with a value wins.
Paths = Annotated[tuple[_Path, ...], BeforeValidator(_as_list)]
Target = Annotated[
    str, StringConstraints(pattern=r"^(lead\.)?[A-Za-z_][A-Za-z0-9_]*$", max_length=64), AfterValidator(_target)
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Money(_Strict):
    """Where an amount is, and in what it is counted."""

    paths: Paths = ()
    unit: Literal["units", "cents", "micros"] = "units"
    # The currency that amounts must be in, where the item names one; empty: whatever it names is not looked at.
    currency: str = ""
    currency_paths: Paths = ()


class Time(_Strict):
    """Where the time is, and in which unit; an item without one happened now."""

    paths: Paths = ()
    unit: Literal["rfc3339", "s", "ms", "us"] = "rfc3339"


class EventRule(_Strict):
    """What an item of one name is."""

    type: Literal["impression", "click", "conversion", "lead", "ignore"]
    # An item of no campaign: refused, or none of our business (an order that no ad brought).
    without_campaign: Literal["refuse", "ignore"] = "refuse"
    # Before those of the format.
    fields: dict[Target, Paths] = {}
    constants: dict[Target, str] = {}
    money: dict[Literal["cost_micros", "revenue_micros"], Money] = {}
    time: Time | None = None


class FormatMapping(_Strict):
    """One format: names of items, and what all of them have."""

    # Where an item's name is; the formats that have one of their own know it.
    name: Paths = ()
    events: dict[str, EventRule] = {}
    fields: dict[Target, Paths] = {}
    constants: dict[Target, str] = {}
    money: dict[Literal["cost_micros", "revenue_micros"], Money] = {}
    time: Time = Time()


class Mapping(_Strict):
    """All formats; `csv` is for Parquet, too, and None while columns have the names of our fields."""

    segment: FormatMapping = FormatMapping()
    ga4: FormatMapping = FormatMapping()
    snowplow: FormatMapping = FormatMapping()
    csv: FormatMapping | None = None

    @classmethod
    def load(cls, file: Path | None) -> Self:
        """The shipped mapping with the file's (TOML or JSON) put over it, member by member; raises ValueError."""
        if file is None:
            return cls.model_validate(shipped())
        try:
            text = _text(file)
            given = tomllib.loads(text) if file.suffix == ".toml" else msgspec.json.decode(text)
        except OSError as error:
            raise ValueError(f"{file}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            kind = "TOML" if file.suffix == ".toml" else "JSON"
            raise ValueError(f"{file}: is not {kind}: {error}") from None
        if not isinstance(given, dict):
            raise ValueError(f"{file}: is not an object of formats (segment, ga4, snowplow, csv)")
        try:
            return cls.model_validate(_over(shipped(), given))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"] if part != "[key]")
            raise ValueError(f"{file}: {place}: {first['msg']}") from None


def shipped() -> dict[str, Any]:
    """What stands in defaults.toml."""
    return tomllib.loads(resources.files(__package__).joinpath("defaults.toml").read_text())


def _text(file: Path) -> str:
    with file.open("rb") as opened:
        content = opened.read(MAPPING_BYTES_MAX + 1)
    if len(content) > MAPPING_BYTES_MAX:
        raise ValueError(f"{file}: is longer than {MAPPING_BYTES_MAX} bytes")
    return content.decode()


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Both, where `above` wins; objects are put over one another, everything else is replaced."""
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        merged[name] = _over(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged
