"""The dashboard as a person meets it, in headless Chromium."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from schemas import topics
from schemas.dead_letters import Reject, dead_letter
from schemas.receipts import encode_receipt
from tests.dashboard.conftest import DASHBOARD, Site, now_ms, started
from tests.dashboard.steering import bidding, receipt, recommendation
from tests.support.live_feed import budget, feed, flow_status, live_row, pause, set_bid, store_status, verification

UNIT = 1_000_000
# A deadline and not a wait: the machine may be busy with other tests.
expect.set_options(timeout=20_000)
AXE = DASHBOARD / "node_modules" / "axe-core" / "axe.min.js"


def cell(page: Page, campaign_id: str, name: str) -> str:
    """Text of one number of a campaign's row or card."""
    return page.locator(f'[data-campaign="{campaign_id}"] [data-cell="{name}"]').inner_text()


def test_before_the_first_event_the_page_says_how_to_send_it(page: Page, site: Site) -> None:
    expect(page.get_by_role("heading", name="No events yet")).to_be_visible()
    command = page.get_by_label("Command").inner_text()
    assert f"curl -sS {site.url}/api/v1/events" in command


def test_an_event_changes_the_numbers_of_its_campaign(page: Page, site: Site) -> None:
    feed(site.log, live_row("c1", 10_000, now_ms()))
    row = page.locator('[data-campaign="c1"]')
    expect(row.locator('[data-cell="spend"]')).to_have_text("€50.00")
    feed(site.log, live_row("c1", 20_000, now_ms()))
    expect(row.locator('[data-cell="spend"]')).to_have_text("€100.00")
    expect(row.locator('[data-cell="ctr"]')).to_have_text("2.00%")
    expect(row).to_contain_text("of €500")
    expect(page.get_by_test_id("freshness")).to_contain_text(re.compile(r"Live.*Event (now|\d+ s)", re.DOTALL))


def test_an_event_is_on_the_page_within_a_quarter_of_a_second(page: Page, site: Site) -> None:
    feed(site.log, live_row("c1", 1_000, now_ms()))
    page.locator('[data-campaign="c1"]').wait_for()
    page.evaluate(
        """() => { window.seen = {}; new MutationObserver(() => {
            const text = document.querySelector('[data-campaign="c1"] [data-cell="spend"]').textContent;
            window.seen[text] ??= Date.now();
        }).observe(document.getElementById("root"), {subtree: true, childList: true, characterData: true}); }"""
    )
    delays = []
    for impressions in range(2_000, 13_000, 1_000):
        sent_ms = now_ms()
        feed(site.log, live_row("c1", impressions, sent_ms))
        text = f"€{impressions * 5_000 / UNIT:.2f}"
        page.wait_for_function("text => window.seen[text]", arg=text)
        delays.append(page.evaluate("text => window.seen[text]", text) - sent_ms)
    # The median: a busy machine delays some of them.
    assert sorted(delays)[len(delays) // 2] < 250, delays


def test_a_rate_without_a_denominator_is_a_dash_with_its_reason(page: Page, site: Site) -> None:
    feed(site.log, live_row("c1", 0, now_ms()))
    page.locator('[data-campaign="c1"]').wait_for()
    assert cell(page, "c1", "ctr").startswith("–")
    assert "no impressions in this span" in cell(page, "c1", "ctr")


def test_a_paused_campaign_says_so_and_why(page: Page, site: Site) -> None:
    feed(site.log, live_row("c1", 90_000, now_ms()))
    row = page.locator('[data-campaign="c1"]')
    expect(row).to_contain_text("Active")
    now = now_ms()
    feed(
        site.log,
        live_row("c1", 100_000, now, state="paused", state_reason="daily_budget_reached"),
        pause("c1", now),
    )
    expect(row).to_contain_text("Paused")
    expect(row).to_contain_text("Daily budget reached")
    expect(row).to_contain_text("100%")
    page.get_by_role("link", name="Decisions").click()
    item = page.get_by_role("button", name=re.compile("Pause.*Campaign c1"))
    item.click()
    expect(item).to_have_attribute("aria-expanded", "true")
    for fact in ("budget/1", "evt-1", "€500.00", "Budget"):
        expect(page.get_by_role("list", name="Decisions")).to_contain_text(fact)


def test_a_lost_connection_is_told_and_made_up_for(page: Page, site: Site) -> None:
    feed(site.log, live_row("c1", 10_000, now_ms()))
    row = page.locator('[data-campaign="c1"]')
    expect(row.locator('[data-cell="spend"]')).to_have_text("€50.00")
    site.stop()
    expect(page.get_by_test_id("freshness")).to_contain_text("Connection lost")
    expect(page.get_by_text("The numbers below are from then")).to_be_visible()
    expect(page.get_by_role("button", name="Try now")).to_be_visible()
    feed(site.log, live_row("c1", 30_000, now_ms()))
    site.start()
    expect(page.get_by_test_id("freshness")).to_contain_text("Live")
    expect(row.locator('[data-cell="spend"]')).to_have_text("€150.00")
    expect(page.get_by_text("Connected again.")).to_be_visible()
    page.get_by_role("link", name="System").click()
    expect(page.get_by_text("s without updates")).to_be_visible()


def test_the_pause_switch_stops_the_numbers_and_lets_them_catch_up(page: Page, site: Site) -> None:
    feed(site.log, live_row("c1", 10_000, now_ms()))
    spend = page.locator('[data-campaign="c1"] [data-cell="spend"]')
    expect(spend).to_have_text("€50.00")
    page.get_by_role("switch", name="Pause updates").click()
    expect(page.get_by_text("Updates are paused")).to_be_visible()
    frames = page.get_by_text("Frames received")
    feed(site.log, live_row("c1", 20_000, now_ms()))
    page.get_by_role("link", name="System").click()
    expect(frames).to_be_visible()
    page.get_by_role("link", name="Campaigns").click()
    expect(spend).to_have_text("€50.00")
    page.get_by_role("button", name="Resume updates").click()
    expect(spend).to_have_text("€100.00")


def test_clickhouse_down_is_told_on_every_page(page: Page, site: Site) -> None:
    feed(site.log, live_row("c1", 10_000, now_ms()), store_status(now_ms(), "down", "connection refused", 1_234))
    for name in ("Campaigns", "Decisions", "System"):
        page.get_by_role("link", name=name).click()
        expect(page.get_by_text("ClickHouse is down:")).to_be_visible()
    expect(page.get_by_text("connection refused")).to_be_visible()
    feed(site.log, store_status(now_ms()))
    expect(page.get_by_text("ClickHouse is down:")).to_have_count(0)


def test_the_campaign_page_shows_charts_decisions_and_budgets(page: Page, site: Site) -> None:
    now = now_ms()
    for step in range(30, -1, -1):
        at = now - step * 10_000
        feed(site.log, live_row("c1", 10_000, at, budgets=[budget("day", 500 * UNIT, 475 * UNIT, at)]))
    feed(site.log, set_bid("c1", now - 60_000, 2_100_000, 2_350_000))
    page.get_by_role("link", name="Campaign c1").click()
    expect(page.get_by_role("heading", level=1, name="Campaign c1")).to_be_visible()
    expect(page.locator(".uplot canvas").first).to_be_visible()
    expect(page.locator('[data-budget="day"]')).to_contain_text("95%")
    expect(page.get_by_text("Bid €2.10 → €2.35")).to_be_visible()
    page.get_by_role("button", name="Show table: Spend").click()
    table = page.get_by_role("region", name="Spend, all values")
    expect(table.get_by_role("rowheader")).to_have_count(32)
    page.get_by_role("radio", name="24 h").nth(1).click()
    expect(table.get_by_role("rowheader").first).to_be_visible()
    expect(page.get_by_text("1 min windows from ClickHouse")).to_be_visible()


def test_a_person_pauses_a_campaign_and_changes_its_budget(page: Page, site: Site) -> None:
    site.define("c1")
    feed(site.log, live_row("c1", 10_000, now_ms()))
    page.get_by_role("link", name="Campaign c1").click()
    page.get_by_role("button", name="Pause campaign").click()
    dialog = page.get_by_role("alertdialog")
    dialog.get_by_label("Note for the record").fill("creative is wrong")
    dialog.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Pause was sent.")).to_be_visible()
    given = site.store.overrides("default", "c1")
    assert [(each.action, each.note) for each in given] == [("pause", "creative is wrong")]

    page.get_by_role("button", name="Change budgets").click()
    field = page.get_by_label("Daily budget")
    expect(field).to_have_value("500.00")
    field.fill("nothing")
    expect(page.get_by_text("Write an amount above zero")).to_be_visible()
    field.fill("750.50")
    page.get_by_role("button", name="Change budgets…").click()
    expect(page.get_by_role("dialog")).to_contain_text("€500.00 → €750.50")
    page.get_by_role("button", name="Confirm the change").click()
    expect(page.get_by_text("Budgets changed in version 2.")).to_be_visible()
    assert site.store.campaign("default", "c1").definition.daily_budget_micros == 750_500_000


def test_a_person_undoes_a_decision(page: Page, site: Site) -> None:
    site.define("c1")
    decision = set_bid("c1", now_ms(), 2_100_000, 2_350_000)
    feed(site.log, live_row("c1", 10_000, now_ms()), decision)
    page.get_by_role("link", name="Decisions").click()
    page.get_by_role("button", name=re.compile("Set bid.*Campaign c1")).click()
    page.get_by_role("button", name="Undo this decision").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Undo this decision").click()
    expect(page.get_by_text("Undo was sent")).to_be_visible()
    assert [word for _, word in site.words(1)] == ["undo"]


def test_a_refused_action_shows_its_error(page: Page, site: Site) -> None:
    feed(site.log, live_row("c1", 10_000, now_ms(), state="unknown"))
    page.get_by_role("link", name="Campaign c1").click()
    page.route("**/override", lambda route: route.abort())
    page.get_by_role("button", name="Pause campaign").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Pause").click()
    expect(page.get_by_role("alert")).to_contain_text("The api does not answer")


def test_everything_is_reached_by_keyboard(page: Page, site: Site) -> None:
    feed(site.log, *(live_row(f"c{number}", 10_000 - number, now_ms()) for number in range(5)))
    page.locator('[data-campaign="c4"]').wait_for()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.get_by_role("button", name="Spend", exact=True).focus()
    page.keyboard.press("Enter")
    expect(
        page.get_by_role("table", name="Campaigns").get_by_role("columnheader", name="Spend", exact=True)
    ).to_have_attribute("aria-sort", "ascending")
    page.locator("a[data-row]").first.focus()
    page.keyboard.press("ArrowDown")
    second = page.locator("a[data-row]").nth(1)
    expect(second).to_be_focused()
    assert second.evaluate("at => getComputedStyle(at).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.get_by_role("button", name="Pause campaign").press("Enter")
    expect(page.get_by_role("alertdialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Pause campaign")).to_be_focused()


def test_ten_thousand_campaigns_are_searched_and_scrolled(page: Page, site: Site) -> None:
    now = now_ms()
    for first in range(0, 10_000, 500):
        feed(site.log, *(live_row(f"c{number:05}", number, now) for number in range(first, first + 500)))
    expect(page.get_by_role("table", name="Campaigns")).to_have_attribute("aria-rowcount", "10001", timeout=20_000)
    assert page.locator("tr[data-campaign]").count() < 100
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    page.locator('[data-campaign="c00000"]').wait_for()
    page.get_by_role("searchbox").fill("c07777")
    expect(page.locator("tr[data-campaign]")).to_have_count(1)


def test_a_key_is_asked_for_and_used(browser: Browser, dist: Path, tmp_path: Path, context: BrowserContext) -> None:
    with started(tmp_path, keys="s3cret:acme") as site:
        feed(site.log, live_row("mine", 10_000, now_ms(), org_id="acme"), live_row("theirs", 1, now_ms()))
        page = context.new_page()
        page.goto(site.url)
        page.get_by_label("API key").fill("wrong")
        page.get_by_role("button", name="Open the dashboard").click()
        expect(page.get_by_text("does not know this key")).to_be_visible()
        page.get_by_label("API key").fill("s3cret")
        page.get_by_role("button", name="Open the dashboard").click()
        page.locator('[data-campaign="mine"]').wait_for()
        expect(page.locator("[data-campaign]")).to_have_count(1)
        assert "s3cret" not in page.url


PAGES = ["#/", "#/campaigns/c1", "#/campaigns/c1/edit", "#/new", "#/decisions", "#/system"]


def fill(site: Site) -> None:
    """One of everything on every page."""
    now = now_ms()
    states = ["active", "paused", "scheduled", "ended", "unknown"]
    for step in range(12, -1, -1):
        at = now - step * 10_000
        rows = [live_row(f"c{n}", 90_000 // (n + 1), at, state=state) for n, state in enumerate(states)]
        feed(site.log, *rows)
    site.define("c1", platforms=[{"platform": "tiktok", "account_id": "7004", "campaign_ref": "17801"}])
    site.define("c1", platforms=[{"platform": "tiktok", "account_id": "7004", "campaign_ref": "17801"}], name="One")
    bid, wanted = set_bid("c1", now, 1, 2), recommendation("c1")
    refused = receipt(bid, "rejected", message="Bid is below the minimum")
    letter = dead_letter(b"{" * 500, Reject.MALFORMED_JSON, "", "cut", source="http/a:1", org_id="default", ts_ms=now)
    site.log.append(topics.RECEIPTS, 0, [encode_receipt(refused)])
    site.log.append(topics.DEAD_LETTERS, 0, [msgspec.json.encode(letter)])
    feed(site.log, live_row("c1", 45_000, now, bidding=bidding(mode="recommend", halted=1, bid_held="override")))
    feed(
        site.log,
        pause("c1", now),
        bid,
        wanted,
        flow_status(now),
        store_status(now, "down", "refused", 9, verification(now)),
    )


@pytest.mark.parametrize("width", [320, 360, 768], ids=["400% zoom of 1280", "phone", "tablet"])
def test_no_page_scrolls_sideways(page: Page, site: Site, width: int) -> None:
    fill(site)
    page.set_viewport_size({"width": width, "height": 740})
    for address in PAGES:
        page.goto(f"{site.url}/{address}")
        page.get_by_text("ClickHouse is down:").wait_for()
        page.locator("main h1, main h2").first.wait_for(state="attached")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_has_a_serious_accessibility_violation(page: Page, site: Site, theme: str) -> None:
    fill(site)
    page.evaluate("theme => localStorage.setItem('penstock.theme', theme)", theme)
    for address in PAGES:
        page.goto(f"{site.url}/{address}")
        page.reload()
        page.get_by_text("ClickHouse is down:").wait_for()
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        page.get_by_text("A change did not reach TikTok:").wait_for()
        if address in ("#/decisions", "#/system", "#/campaigns/c1"):
            page.locator("li [aria-expanded]").first.click()
        # Evaluated and not added as a script: the page's policy lets nothing in, as it should.
        page.evaluate(AXE.read_text())
        options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
        found = page.evaluate("options => axe.run(document, options)", options)
        serious = [
            (each["id"], [node["target"] for node in each["nodes"]][:3], each["nodes"][0]["failureSummary"])
            for each in found["violations"]
            if each["impact"] in ("serious", "critical")
        ]
        assert serious == [], address


@pytest.mark.parametrize(
    ("missing", "repaired", "told"),
    [
        (0, 0, "Nothing was missing."),
        (5_440, 5_440, "What was missing is written again."),
        (9, 4, "5 still missing: run penstock doctor --verify."),
    ],
    ids=["all there", "repaired", "not all repaired"],
)
def test_the_system_page_shows_the_last_comparison_with_the_log(
    page: Page, site: Site, missing: int, repaired: int, told: str
) -> None:
    now = now_ms()
    feed(site.log, store_status(now, verified=verification(now, missing=missing, repaired=repaired)))
    page.goto(f"{site.url}/#/system")
    shown = page.get_by_label("Last verification")
    expect(shown).to_contain_text(told)
    expect(shown).to_contain_text("500,000")
    expect(shown).to_contain_text("by store")


def test_the_theme_follows_the_system_until_it_is_chosen(context: BrowserContext, site: Site) -> None:
    page = context.new_page()
    page.emulate_media(color_scheme="dark")
    page.goto(site.url)
    shown = "document.documentElement.dataset.theme"
    page.get_by_role("button", name="Colours: system").click()
    assert page.evaluate(shown) == "light"
    page.reload()
    page.get_by_role("button", name="Colours: light").click()
    assert page.evaluate(shown) == "dark"
    page.get_by_role("button", name="Colours: dark").click()
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"() => {shown} === 'light'")
