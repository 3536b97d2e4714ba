"""What the dashboard shows: measures, table columns and charts, as the browser is told them.

A measure is a sum of a counter, or a ratio of two, so that a new one needs no new code in the browser.
"""

from __future__ import annotations

from typing import Any, Final

MICROS: Final = 1_000_000


def _count(counter: str, title: str, explain: str) -> dict[str, Any]:
    return {"id": counter, "title": title, "unit": "count", "of": counter, "per": None, "scale": 1, "explain": explain}


def _money(ident: str, counter: str, title: str, explain: str) -> dict[str, Any]:
    return {"id": ident, "title": title, "unit": "money", "of": counter, "per": None, "scale": 1, "explain": explain}


def _rate(ident: str, title: str, unit: str, of: str, per: str, explain: str, scale: int = 1) -> dict[str, Any]:
    return {"id": ident, "title": title, "unit": unit, "of": of, "per": per, "scale": scale, "explain": explain}


# Units: "count"; "money" in micros of the campaign's currency; "share" of 1, shown in percent; "factor".
MEASURES: Final = [
    _money("spend", "spend_micros", "Spend", "Cost of all accepted events"),
    _count("impressions", "Impressions", "Times an ad was shown"),
    _count("clicks", "Clicks", "Clicks on the ad"),
    _count("conversions", "Conversions", "Conversions that were reported"),
    _count("leads", "Leads", "Leads that were reported"),
    _money("revenue", "revenue_micros", "Revenue", "Revenue of conversions"),
    _count("reach", "Reach", "Distinct people, estimated; not a sum of windows"),
    _rate("ctr", "CTR", "share", "clicks", "impressions", "Clicks / impressions"),
    _rate("cvr", "CVR", "share", "conversions", "clicks", "Conversions / clicks"),
    _rate("cpm", "CPM", "money", "spend_micros", "impressions", "Spend / impressions × 1,000", 1_000),
    _rate("cpc", "CPC", "money", "spend_micros", "clicks", "Spend / clicks"),
    _rate("cpa", "CPA", "money", "spend_micros", "conversions", "Spend / conversions"),
    _rate("roas", "ROAS", "factor", "revenue_micros", "spend_micros", "Revenue / spend"),
    _rate("frequency", "Frequency", "factor", "impressions", "reach", "Impressions / people reached"),
]

COLUMNS: Final = ["ctr", "cpc", "cpa", "roas"]
TILES: Final = [
    "spend",
    "revenue",
    "roas",
    "impressions",
    "reach",
    "ctr",
    "clicks",
    "cpc",
    "cvr",
    "conversions",
    "leads",
    "cpa",
]

# In windows of 10 s a rate jumps with every click: six of them together are a rolling minute.
RATE_WINDOWS: Final = 6


def _chart(ident: str, title: str, draw: str, *measures: str, rolling: int = 1, shared: bool = False) -> dict[str, Any]:
    return {
        "id": ident,
        "title": title,
        "measures": measures,
        "draw": draw,
        "rolling_windows": rolling,
        # Measures of one size are drawn against one axis, others each against its own.
        "shared_axis": shared,
    }


CHARTS: Final = [
    _chart("spend", "Spend", "area", "spend"),
    _chart("delivery", "Impressions and clicks", "line", "impressions", "clicks"),
    _chart("ctr", "CTR", "line", "ctr", rolling=RATE_WINDOWS),
    _chart("cpc", "CPC", "line", "cpc", rolling=RATE_WINDOWS),
    _chart("cvr", "CVR", "line", "cvr", rolling=RATE_WINDOWS),
    _chart("conversions", "Conversions and leads", "bars", "conversions", "leads", shared=True),
    _chart("cpa", "CPA", "line", "cpa", rolling=RATE_WINDOWS),
    _chart("revenue", "Revenue", "area", "revenue"),
    _chart("roas", "ROAS", "line", "roas", rolling=RATE_WINDOWS),
]

# Where the table's and the tiles' numbers come from.
SPANS: Final = [
    {"id": "today", "title": "Today", "explain": "The campaign's day in its own time zone"},
    {"id": "1m", "title": "1 min", "explain": "Rolling minute, moves every 10 s"},
    {"id": "5m", "title": "5 min", "explain": "Rolling 5 minutes, moves every 10 s"},
    {"id": "1h", "title": "1 h", "explain": "Rolling hour, moves every minute"},
    {"id": "24h", "title": "24 h", "explain": "Rolling 24 hours, moves every hour"},
    {"id": "total", "title": "All time", "explain": "Everything ever counted"},
]
