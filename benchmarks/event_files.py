"""Seeded files of events as a busy advertiser sends them: about 268 bytes each, popularity skewed, time rising."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

BLOCK: Final = 100_000
START_MS: Final = 1_780_000_000_000
CHANNELS: Final = ("display", "video", "social", "search", "native")
PLATFORMS: Final = ("google", "facebook", "tiktok", "linkedin", "openrtb")
DEVICES: Final = ("mobile", "desktop", "tablet")
COUNTRIES: Final = ("US", "DE", "GB", "FR", "JP", "BR", "IN", "ES", "IT", "CA", "NL", "SE", "PL", "AU", "MX", "KR")
TYPES: Final = ("impression", "click", "conversion", "lead")
# Of 1,000 events; the rest are impressions.
CLICKS_PER_MILLE: Final = 20
CONVERSIONS_PER_MILLE: Final = 2
CPC_CAMPAIGNS_SHARE: Final = 0.3
USERS: Final = 1_000_000
# Events come out of order by up to this much.
JITTER_MS: Final = 2_000

Columns = dict[str, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Market:
    """What the events are about. Shares are per mille of events, times in milliseconds."""

    campaigns: int = 200
    events_per_second: int = 2_000
    leads_per_mille: int = 0
    duplicates_per_mille: int = 0
    start_ms: int = START_MS
    # Whether nearly every event is of a series of its own: campaign, creative, channel, country and device are drawn
    # evenly and each by itself.
    many_series: bool = False


# As a careless or hostile sender has them: 480 million series.
MANY_SERIES: Final = Market(campaigns=1_000, many_series=True)
_MANY_CREATIVES: Final = 2_000


def _skewed(rng: np.random.Generator, kinds: int, size: int) -> NDArray[np.int64]:
    """Codes below `kinds`, the k-th as likely as 1 / (k + 1) (Zipf)."""
    weights = 1 / np.arange(1, kinds + 1)
    return np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(size)).clip(0, kinds - 1).astype(np.int64)


def _kinds(rng: np.random.Generator, market: Market, size: int) -> NDArray[np.int64]:
    dice = rng.integers(0, 1_000, size)
    edges = np.cumsum([market.leads_per_mille, CONVERSIONS_PER_MILLE, CLICKS_PER_MILLE])
    return 3 - np.searchsorted(edges, dice, side="right").astype(np.int64)


def _refer_back(columns: Columns, kind: int, to_kind: int) -> None:
    """Events of a kind take person, campaign and place from the last event of `to_kind` before them."""
    rows = np.flatnonzero(columns["kind"] == kind)
    targets = np.flatnonzero(columns["kind"] == to_kind)
    before = np.searchsorted(targets, rows) - 1
    rows, origins = rows[before >= 0], targets[before[before >= 0]]
    for name in ("campaign", "creative", "publisher", "channel", "country", "device", "user"):
        columns[name][rows] = columns[name][origins]
    columns["named"][rows] = columns["id"][origins]


def _block(rng: np.random.Generator, market: Market, first: int, size: int) -> Columns:
    rising = market.start_ms + (first + np.arange(size)) * 1_000 // market.events_per_second
    columns: Columns = {
        "id": rng.integers(0, 2**63, size),
        "named": np.zeros(size, np.int64),
        "kind": _kinds(rng, market, size),
        "ts": rising + rng.integers(-JITTER_MS, JITTER_MS, size),
        "campaign": _skewed(rng, market.campaigns, size),
        "creative": _skewed(rng, 8, size),
        "publisher": _skewed(rng, 400, size),
        "country": _skewed(rng, len(COUNTRIES), size),
        "device": _skewed(rng, len(DEVICES), size),
        "user": (USERS * rng.random(size) ** 3).astype(np.int64),
    }
    columns["channel"] = columns["campaign"] % len(CHANNELS)
    if market.many_series:
        columns |= _spread(rng, market, size)
    _refer_back(columns, 1, 0)
    _refer_back(columns, 2, 1)
    _refer_back(columns, 3, 1)
    by_click = columns["campaign"] % 100 < 100 * CPC_CAMPAIGNS_SHARE
    cpm = rng.lognormal(8.0, 0.4, size).astype(np.int64)
    costs = np.where(by_click, 0, cpm), np.where(by_click, 150 * cpm, 0)
    columns["cost"] = np.select([columns["kind"] == 0, columns["kind"] == 1], costs, 0)
    columns["revenue"] = np.where(columns["kind"] == 2, rng.lognormal(17.3, 0.8, size).astype(np.int64), 0)
    return columns


def _spread(rng: np.random.Generator, market: Market, size: int) -> Columns:
    """The dimensions of series drawn evenly; each independent of the others."""
    kinds = {"campaign": market.campaigns, "creative": _MANY_CREATIVES, "country": len(COUNTRIES)}
    kinds |= {"device": len(DEVICES), "channel": len(CHANNELS)}
    return {name: rng.integers(0, count, size) for name, count in kinds.items()}


def _about(campaign: int, creative: int, publisher: int, channel_code: int, many_series: bool) -> str:
    """The members that follow from these four; with many series campaigns share creatives."""
    channel, platform = CHANNELS[channel_code], PLATFORMS[campaign % len(PLATFORMS)]
    name = f"{creative}" if many_series else f"{campaign}-{creative}"
    return (
        f'"campaign_id":"cmp-{campaign}","ad_group_id":"ag-{campaign}-{creative % 3}",'
        f'"creative_id":"cr-{name}","publisher_id":"pub-{publisher}","channel":"{channel}","platform":"{platform}"'
    )


def _ending(kind: int, named: int, cost: int, revenue: int, email: int) -> str:
    if kind == 0:
        return f',"cost_micros":{cost}}}\n'
    if kind == 1:
        return f',"impression_id":"{named:016x}","cost_micros":{cost}}}\n'
    if kind == 2:
        return f',"click_id":"{named:016x}","revenue_micros":{revenue}}}\n'
    return f',"click_id":"{named:016x}","lead":{{"email":"p{email}@example.com","form_seconds":{email % 90}.5}}}}\n'


def _lines(columns: Columns, many_series: bool) -> Iterator[str]:
    fields = ("id", "kind", "ts", "campaign", "creative", "publisher", "channel", "country", "device", "user")
    ends = ("named", "cost", "revenue")
    for code, kind, ts, campaign, creative, publisher, channel, country, device, user, named, cost, revenue in zip(
        *(columns[name].tolist() for name in (*fields, *ends)), strict=True
    ):
        yield (
            f'{{"event_id":"{code:016x}","type":"{TYPES[kind]}","ts":{ts},'
            f'{_about(campaign, creative, publisher, channel, many_series)},"user_id":"u{user}",'
            f'"country":"{COUNTRIES[country]}","device":"{DEVICES[device]}"{_ending(kind, named, cost, revenue, user)}'
        )


def event_lines(events: int, seed: int, market: Market = Market()) -> Iterator[list[str]]:
    """Lines of NDJSON, each with its newline, in blocks. The same arguments give the same lines.

    Duplicates are whole lines again, up to 1,000 events after the first time, and count among `events`.
    """
    rng = np.random.default_rng(seed)
    for first in range(0, events, BLOCK):
        size = min(BLOCK, events - first)
        lines = list(_lines(_block(rng, market, first, size), market.many_series))
        for row in np.flatnonzero(rng.integers(0, 1_000, size) < market.duplicates_per_mille).tolist():
            lines[row] = lines[max(0, row - int(rng.integers(1, 1_000)))]
        yield lines


def write_event_file(path: Path, events: int, seed: int, market: Market = Market()) -> int:
    """Write a file of so many events, compressed when its name ends in .gz; its size in bytes."""
    with path.open("wb") as raw, _compressed(raw) if path.suffix == ".gz" else nullcontext(raw) as file:
        for lines in event_lines(events, seed, market):
            file.write("".join(lines).encode("ascii"))
    return path.stat().st_size


def _compressed(raw: IO[bytes]) -> gzip.GzipFile:
    """No name and time in the head, so that the same seed gives the same bytes."""
    return gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0)
