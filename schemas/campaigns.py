"""Campaign definitions: what people and APIs send, checked in full."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from schemas.decisions import Mode
from schemas.events import DEFAULT_ORG, MICROS_MAX, PLATFORMS
from schemas.strategies import MANUAL, SPECS, known_strategy
from schemas.zones import zone_of

# A budget of ten million units a day is the largest anyone may set by accident.
BUDGET_MICROS_MAX: Final = 10_000_000 * 10**6
HOURS_OF_WEEK: Final = 168

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:\-]{1,128}$")]
WebUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s\"'<>\\]{1,2000}$")]
Mime = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.+-]{1,60}/[A-Za-z0-9.+-]{1,60}$")]
CategoryId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")]
# A value of one of the standard's lists.
Code = Annotated[int, Field(ge=1, le=10_000)]
BudgetMicros = Annotated[int, Field(gt=0, le=BUDGET_MICROS_MAX, strict=True)]
PriceMicros = Annotated[int, Field(gt=0, le=MICROS_MAX, strict=True)]


# Where a campaign may live: what events call platforms, but for those that nobody knows.
LINK_PLATFORMS: Final = PLATFORMS[:-1]


def _known_platform(name: str) -> str:
    if name not in LINK_PLATFORMS:
        raise ValueError(f"is none of {', '.join(LINK_PLATFORMS)}")
    return name


class CampaignStatus(StrEnum):
    """What a person wants of the campaign; whether it runs also depends on budgets and dates."""

    ACTIVE = "active"
    PAUSED = "paused"
    ARCHIVED = "archived"


_STRATEGY_SCHEMA: Final = {"enum": list(SPECS), "type": "string", "description": "How bids are set."}
StrategyName = Annotated[str, AfterValidator(known_strategy), WithJsonSchema(_STRATEGY_SCHEMA)]


class Bidding(BaseModel):
    """A campaign's bid strategy. Prices are micros of the campaign's currency per thousand impressions (CPM)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: StrategyName = MANUAL
    mode: Mode = Mode.AUTO
    # The fixed bid of `manual`, the first bid of the others.
    bid_micros: PriceMicros | None = None
    bid_floor_micros: PriceMicros | None = None
    bid_cap_micros: PriceMicros | None = None
    target_cpa_micros: PriceMicros | None = None
    target_roas: Annotated[float, Field(gt=0, le=1_000)] | None = None
    # A bid never moves by more than this share in one step.
    max_change: Annotated[float, Field(gt=0, le=1)] = 0.3
    # No goal steering before this many conversions (clicks for max_clicks) were seen.
    learning_events: Annotated[int, Field(ge=0, le=100_000)] = 20
    cooldown_ms: Annotated[int, Field(ge=1_000, le=86_400_000)] = 60_000
    # Share of spend that may go to trying other bids.
    exploration_share: Annotated[float, Field(ge=0, le=0.2)] = 0.0
    auction: Literal["first", "second"] = "second"
    pacing: Literal["even", "asap"] = "even"
    # Hours of the week (0 = Monday 00:00, campaign time zone) in which it runs; None means all.
    day_parts: list[Annotated[int, Field(ge=0, lt=HOURS_OF_WEEK)]] | None = None
    portfolio_id: Identifier | None = None

    @model_validator(mode="after")
    def _goal_is_complete(self) -> Self:
        for field in SPECS[self.strategy].needs:
            if getattr(self, field) is None:
                raise ValueError(f"{self.strategy} needs {field}")
        floor, cap = self.bid_floor_micros, self.bid_cap_micros
        if floor is not None and cap is not None and floor > cap:
            raise ValueError("bid_floor_micros is above bid_cap_micros")
        return self


class PlatformLink(BaseModel):
    """Where a campaign lives on an ad platform."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    platform: Annotated[
        str, AfterValidator(_known_platform), WithJsonSchema({"enum": list(LINK_PLATFORMS), "type": "string"})
    ]
    account_id: Identifier
    # The platform's own ids: campaign, and what carries the bid and the budget where that is another object.
    campaign_ref: str
    ad_group_ref: str | None = None
    budget_ref: str | None = None
    # What the platform object's bid is for: a thousand impressions, or a click (then a bid of CPM micros is divided
    # by the campaign's click rate).
    bids_per: Literal["thousand", "click"] = "thousand"


class NativeImage(BaseModel):
    """An image of a native ad. `type` is the standard's: 1 icon, 3 main image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal[1, 3] = 3
    url: WebUrl
    width: Annotated[int, Field(gt=0, le=10_000)]
    height: Annotated[int, Field(gt=0, le=10_000)]
    mime: Mime = "image/jpeg"


class NativeData(BaseModel):
    """A text of a native ad. `type` is the standard's: 1 sponsored by, 2 description, 12 call to action, and so on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Annotated[int, Field(ge=1, le=1_000)]
    value: Annotated[str, StringConstraints(min_length=1, max_length=1_000)]


class NativeAd(BaseModel):
    """What a native ad is made of (OpenRTB Native 1.2): each slot takes from it the assets that it asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
    images: Annotated[list[NativeImage], Field(max_length=20)] = []
    data: Annotated[list[NativeData], Field(max_length=20)] = []
    # VAST, for slots that ask for a video; it follows the creative's `mime`, `protocol` and `duration_s`.
    video: Annotated[str, StringConstraints(min_length=1, max_length=20_000)] | None = None


class Creative(BaseModel):
    """What is shown when our own bidder wins, and what exchanges ask of it before.

    In `markup` (HTML for a banner, VAST for video, VAST or DAAST for audio) `{click}` and `${CLICK_URL}` become the
    address that counts the click and goes on to `landing_url`; `{click_encoded}` and `${CLICK_URL_ENC}` the same,
    percent-encoded, for use inside another address. The standard's own macros (`${AUCTION_PRICE}` and its like) are
    left for the exchange, and so is everything else.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    creative_id: Identifier
    kind: Literal["banner", "video", "audio", "native"] = "banner"
    # A banner and a video have a size.
    width: Annotated[int, Field(gt=0, le=10_000)] | None = None
    height: Annotated[int, Field(gt=0, le=10_000)] | None = None
    markup: Annotated[str, StringConstraints(min_length=1, max_length=20_000)] | None = None
    native: NativeAd | None = None
    # Advertiser domains (`adomain`), by which exchanges block; the first is where clicks go without a landing_url.
    landing_domains: Annotated[list[str], Field(min_length=1, max_length=10)]
    landing_url: WebUrl | None = None
    # Categories in the taxonomy that `category_taxonomy` names (AdCOM "Category Taxonomies"; 1 has IAB1-2 and so on).
    categories: Annotated[list[CategoryId], Field(max_length=50)] = []
    category_taxonomy: Annotated[int, Field(ge=1, le=1_000)] = 1
    # AdCOM "Creative Attributes", such as 1 audio that plays by itself; 8: pop.
    attributes: Annotated[list[Code], Field(max_length=50)] = []
    # AdCOM "API Frameworks" that the markup cannot do without, such as 5 for MRAID 2.
    apis: Annotated[list[Code], Field(max_length=20)] = []
    # What the slot's `mimes` must name: the type of the media file; text/html for a banner that names none.
    mime: Mime | None = None
    # Video and audio: AdCOM "Creative Subtypes", such as 3 for VAST 3.0 or 9 for DAAST 1.0, and the length.
    protocol: Code | None = None
    duration_s: Annotated[int, Field(gt=0, le=3_600)] | None = None
    # Banner ad type of the standard: 1 text, 2 image, 3 JavaScript, 4 iframe; None: seen from the markup.
    banner_type: Literal[1, 2, 3, 4] | None = None
    # ISO 639-1; None: any slot, whatever languages it allows.
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")] | None = None
    # Fit for children: without it there is no bid where COPPA applies.
    for_children: bool = False

    @model_validator(mode="after")
    def _holds_what_its_kind_needs(self) -> Self:
        if self.kind == "native":
            if self.native is None:
                raise ValueError("a native creative needs native")
        elif self.markup is None:
            raise ValueError(f"a creative of kind {self.kind} needs markup")
        if self.kind in ("banner", "video") and (self.width is None or self.height is None):
            raise ValueError(f"a creative of kind {self.kind} needs width and height")
        return self


class Campaign(BaseModel):
    """A campaign's definition.

    Times are RFC 3339 with a zone or integer milliseconds, and integer milliseconds inside. The day, and the week from
    Monday, follow `time_zone`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    campaign_id: Identifier
    org_id: Identifier = DEFAULT_ORG
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    time_zone: str = "UTC"
    daily_budget_micros: BudgetMicros | None = None
    weekly_budget_micros: BudgetMicros | None = None
    total_budget_micros: BudgetMicros | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    status: CampaignStatus = CampaignStatus.ACTIVE
    bidding: Bidding | None = None
    platforms: list[PlatformLink] = []
    # What our own OpenRTB bidder may show, and where (ISO 3166 alpha-2; None: everywhere). Without creatives it
    # does not bid for the campaign.
    creatives: Annotated[list[Creative], Field(max_length=200)] = []
    countries: list[Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]] | None = None
    # Ids of private deals that it may bid on; with `deals_only` it bids on nothing else.
    deals: Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=128)]], Field(max_length=200)] = []
    deals_only: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short_names(cls, given: Any) -> Any:
        """`id`, `start` and `end` are accepted for campaign_id, start_ms and end_ms."""
        if not isinstance(given, dict):
            return given
        renamed = dict(given)
        for short, field in (("id", "campaign_id"), ("start", "start_ms"), ("end", "end_ms")):
            if short in renamed and field not in renamed:
                renamed[field] = renamed.pop(short)
        return renamed

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, name: str) -> str:
        zone_of(name)
        return name

    @field_validator("start_ms", "end_ms", mode="before")
    @classmethod
    def _instant(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        moment = datetime.fromisoformat(given)
        if moment.tzinfo is None:
            raise ValueError("needs a time zone, such as 2026-01-31T09:00:00+01:00")
        return round(moment.timestamp() * 1_000)

    @model_validator(mode="after")
    def _ends_after_start(self) -> Self:
        if self.start_ms is not None and self.end_ms is not None and self.end_ms <= self.start_ms:
            raise ValueError("end is not after start")
        return self
