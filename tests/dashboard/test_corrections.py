"""The campaign page tells what was reported, what was corrected, by whom and why."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from schemas.corrections import COUNTERS
from tests.dashboard.conftest import DASHBOARD, Site, now_ms
from tests.support.live_feed import feed, live_row

UNIT = 1_000_000
HOUR_MS = 3_600_000
AXE = DASHBOARD / "node_modules" / "axe-core" / "axe.min.js"
expect.set_options(timeout=20_000)


def correction(number: int, **fields: Any) -> dict[str, Any]:
    at = now_ms() - number * HOUR_MS
    plain = {
        "correction_id": f"id{number}", "org_id": "default", "campaign_id": "c1", "ts_ms": at - 30 * HOUR_MS,
        "cause": "platform_invoice", "grain": "day", "by": "ann (key 0a1b2c3d)", "noted_ms": at, "note": "",
        "applied_ms": at, "late": True, "refused": False,
    }  # fmt: skip
    texts = dict.fromkeys(("creative_id", "channel", "country", "device", "event_id"), "")
    return plain | texts | dict.fromkeys(COUNTERS, 0) | fields


def corrected(site: Site) -> None:
    """A campaign with four corrections, one of them refused."""
    site.corrections.now |= {"spend_micros": 1_298_300_000, "clicks": 5_211, "impressions": 260_400}
    site.corrections.rows = [
        correction(1, spend_micros=-4_200_000, note="INV-2026-03/1: Meta bills less than it reported. " + "x" * 120),
        correction(2, cause="late_duplicate", grain="moment", by="store", clicks=-1, spend_micros=-310_000),
        correction(3, cause="refund", spend_micros=-900_000_000, refused=True, note="<b>credit</b> note 7"),
        correction(4, cause="note", by="", impressions=400),
    ]
    feed(site.log, live_row("c1", 45_000, now_ms()))


def opened(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/#/campaigns/c1")
    page.get_by_role("heading", name="Corrections").wait_for()


def test_reported_difference_and_corrected_stand_side_by_side(page: Page, site: Site) -> None:
    corrected(site)
    opened(page, site)
    expect(page.get_by_role("heading", name="Corrections (3)")).to_be_visible()
    spend = page.locator('[data-measure="spend_micros"] td')
    expect(spend).to_have_text(["€1,302.81", "−€4.51", "€1,298.30"])
    expect(page.locator('[data-measure="clicks"] td')).to_have_text(["5,212", "−1", "5,211"])
    expect(page.locator('[data-measure="leads"]')).to_have_count(0)


def test_each_correction_says_why_when_by_whom_and_what(page: Page, site: Site) -> None:
    corrected(site)
    opened(page, site)
    items = page.get_by_role("list", name="Corrections").get_by_role("listitem")
    expect(items).to_have_count(4)
    expect(items.nth(0)).to_contain_text("Platform invoice")
    expect(items.nth(0)).to_contain_text("Spend −€4.20")
    expect(items.nth(0)).to_contain_text("by ann (key 0a1b2c3d)")
    expect(items.nth(1)).to_contain_text("Late duplicate")
    expect(items.nth(1)).to_contain_text("by store")
    expect(items.nth(2)).to_contain_text("without effect")
    # A note is text and never markup.
    expect(items.nth(2)).to_contain_text("<b>credit</b> note 7")


def test_a_campaign_without_corrections_says_so(page: Page, site: Site) -> None:
    feed(site.log, live_row("c1", 45_000, now_ms()))
    opened(page, site)
    expect(page.get_by_text("Nothing was corrected")).to_be_visible()


def test_more_than_a_few_are_shown_when_asked_for(page: Page, site: Site) -> None:
    site.corrections.rows = [correction(number, clicks=-1) for number in range(1, 31)]
    feed(site.log, live_row("c1", 45_000, now_ms()))
    opened(page, site)
    items = page.get_by_role("list", name="Corrections").get_by_role("listitem")
    expect(items).to_have_count(10)
    page.locator("section", has=page.get_by_role("heading", name="Corrections")).get_by_role(
        "button", name="Show more"
    ).click()
    expect(items).to_have_count(30)


@pytest.mark.parametrize("width", [320, 360, 768])
def test_the_page_does_not_scroll_sideways(page: Page, site: Site, width: int) -> None:
    corrected(site)
    page.set_viewport_size({"width": width, "height": 740})
    opened(page, site)
    page.locator('[data-measure="spend_micros"]').wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_card_has_no_serious_accessibility_violation(page: Page, site: Site, theme: str) -> None:
    corrected(site)
    page.evaluate("theme => localStorage.setItem('penstock.theme', theme)", theme)
    opened(page, site)
    page.reload()
    page.locator('[data-measure="spend_micros"]').wait_for()
    page.evaluate(AXE.read_text())
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
    found = page.evaluate("options => axe.run(document, options)", options)
    serious = [each["id"] for each in found["violations"] if each["impact"] in ("serious", "critical")]
    assert serious == []
