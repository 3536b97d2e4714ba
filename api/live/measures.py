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
TILES: Final = ["spend", "impressions", "clicks", "conversions", "revenue", "ctr", "cpc", "cpa", "roas"]

CHARTS: Final = [
    {"id": "spend", "title": "Spend", "measures": ["spend"], "draw": "area"},
    {"id": "delivery", "title": "Impressions and clicks", "measures": ["impressions", "clicks"], "draw": "line"},
    {"id": "ctr", "title": "CTR", "measures": ["ctr"], "draw": "line"},
    {"id": "cpc", "title": "CPC", "measures": ["cpc"], "draw": "line"},
    {"id": "conversions", "title": "Conversions and leads", "measures": ["conversions", "leads"], "draw": "bars"},
    {"id": "cpa", "title": "CPA", "measures": ["cpa"], "draw": "line"},
    {"id": "roas", "title": "ROAS", "measures": ["roas"], "draw": "line"},
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
