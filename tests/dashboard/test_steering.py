"""What a person sees of bidding, ad platforms and dead letters, and does about them, in headless Chromium."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from playwright.sync_api import BrowserContext, Locator, Page, expect

from schemas import topics
from schemas.dead_letters import Reject, dead_letter
from schemas.receipts import encode_receipt
from tests.dashboard.conftest import Site, now_ms
from tests.dashboard.steering import bidding, receipt, recommendation
from tests.support.decisions import decision_of
from tests.support.live_feed import feed, live_row, set_bid

expect.set_options(timeout=20_000)


def card(page: Page, title: str) -> Locator:
    return page.get_by_role("region", name=re.compile(f"^{title}"))


def open_campaign(page: Page, site: Site, **bids: Any) -> None:
    feed(site.log, live_row("c1", 10_000, now_ms(), bidding=bidding(**bids)))
    page.get_by_role("link", name="Campaign c1").click()


def test_a_recommendation_waits_until_a_person_approves_it(page: Page, site: Site) -> None:
    site.define("c1")
    wanted = recommendation("c1")
    feed(site.log, live_row("c1", 10_000, now_ms(), bidding=bidding(mode="recommend")), wanted)
    page.get_by_role("link", name=re.compile("Decisions.*1 waiting for you")).click()
    waiting = card(page, "Waiting for you")
    expect(waiting).to_contain_text("Bid €2.35 → €2.60")
    waiting.get_by_role("button", name="Approve").click()
    dialog = page.get_by_role("alertdialog")
    expect(dialog).to_contain_text("Campaign c1: Bid €2.35 → €2.60")
    dialog.get_by_role("button", name="Approve").click()
    expect(waiting).to_contain_text("Approved; it takes effect now.")
    expect(page.get_by_role("link", name="Decisions", exact=True)).to_be_visible()
    assert site.words(1) == [(wanted.decision_id, "approve")]
    page.reload()
    expect(page.get_by_role("list", name="Decisions", exact=True)).to_contain_text("approved")
    expect(card(page, "Waiting for you")).to_have_count(0)


def test_a_word_that_the_api_refuses_is_told(page: Page, site: Site) -> None:
    feed(site.log, live_row("c1", 10_000, now_ms()), recommendation("c1"))
    page.get_by_role("link", name=re.compile("Decisions")).click()
    page.route("**/reject", lambda route: route.abort())
    card(page, "Waiting for you").get_by_role("button", name="Reject").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Reject").click()
    expect(page.get_by_role("alert")).to_contain_text("The api does not answer")
    assert site.words(0) == []


def test_a_dry_run_offers_nothing_to_undo(page: Page, site: Site) -> None:
    decision = set_bid("c1", now_ms(), 1_000_000, 2_000_000)
    decision.mode = "dry_run"
    feed(site.log, live_row("c1", 10_000, now_ms()), decision)
    page.get_by_role("link", name="Decisions").click()
    page.get_by_role("button", name=re.compile("Set bid")).click()
    expect(page.get_by_text("Expected effect, 90% interval")).to_be_visible()
    expect(page.get_by_role("button", name="Undo this decision")).to_have_count(0)


def test_bidding_shows_goal_and_actual_and_why_automation_is_halted(page: Page, site: Site) -> None:
    changed = {
        "kind": "halt",
        "reason": "outcome_out_of_band",
        "before": {"automation": "running"},
        "after": {"automation": "halted"},
        "inputs": {"expected_outcomes": 20.6, "outcomes": 4},
        "undo": None,
    }
    halt = decision_of(**msgspec.to_builtins(set_bid("c1", now_ms(), 1, 2)) | changed)
    feed(site.log, halt)
    open_campaign(page, site, halted=1)
    facts = page.get_by_test_id("bidding")
    for fact in ("Target CPA", "€2.35", "80%", "€4.00", "Actual CPA, today", "€5.00", "Halted"):
        expect(facts).to_contain_text(fact)
    expect(card(page, "Bidding")).to_contain_text("4 outcomes where 20.6 were expected")
    page.get_by_role("link", name="Campaigns", exact=True).first.click()
    expect(page.locator('[data-campaign="c1"] [data-cell="bid"]')).to_contain_text(re.compile("€2.35.*Halted", re.S))


def test_a_person_sets_a_bid_and_gives_it_back(page: Page, site: Site) -> None:
    site.define("c1")
    open_campaign(page, site)
    page.get_by_role("button", name="Set bid by hand").click()
    field = page.get_by_label("Bid", exact=True)
    expect(field).to_have_value("2.35")
    field.fill("0")
    page.get_by_role("button", name="Set this bid").click()
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill("3.10")
    expect(page.get_by_text("a change of +32%")).to_be_visible()
    page.get_by_role("button", name="Set this bid").click()
    expect(page.get_by_text("A bid of €3.10 CPM was sent.")).to_be_visible()
    feed(site.log, live_row("c1", 10_000, now_ms(), bidding=bidding(bid_micros=3_100_000, bid_held="override")))
    expect(page.get_by_text("A person's bid is in force")).to_be_visible()
    page.get_by_role("button", name="Give back to automation").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Give back to automation").click()
    expect(page.get_by_text("Given back")).to_be_visible()
    given = site.store.overrides("default", "c1")
    assert [(each.action, each.bid_micros) for each in given] == [("set_bid", 3_100_000), ("lift", None)]


def test_a_strategy_without_its_goal_is_refused_at_the_field(page: Page, site: Site) -> None:
    site.define("c1", bidding={"strategy": "manual", "bid_micros": 2_000_000})
    open_campaign(page, site, strategy="manual")
    page.get_by_role("button", name="Change bidding").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Strategy").select_option("target_roas")
    dialog.get_by_role("button", name="Change bidding…").click()
    dialog.get_by_role("button", name="Confirm the change").click()
    goal = dialog.get_by_label("Target ROAS")
    expect(goal).to_have_attribute("aria-invalid", "true")
    goal.fill("4")
    dialog.get_by_label("Mode").select_option("recommend")
    dialog.get_by_role("button", name="Change bidding…").click()
    expect(dialog).to_contain_text("Strategy: Manual → Target ROAS")
    dialog.get_by_role("button", name="Confirm the change").click()
    expect(page.get_by_text("Bidding changed in version 2.")).to_be_visible()
    bids = site.store.campaign("default", "c1").definition.bidding
    assert bids is not None
    assert (bids.strategy, bids.mode, bids.target_roas, bids.bid_micros) == ("target_roas", "recommend", 4.0, 2_000_000)


def test_a_change_that_a_platform_rejected_is_told_on_every_page(page: Page, site: Site) -> None:
    site.define("c1", platforms=[{"platform": "tiktok", "account_id": "7004", "campaign_ref": "17801"}])
    decision = set_bid("c1", now_ms(), 2_100_000, 2_350_000)
    feed(site.log, decision)
    refused = receipt(decision, "rejected", message="Bid is below the minimum", status=400, error_code="40002")
    site.log.append(topics.RECEIPTS, 0, [encode_receipt(refused)])
    open_campaign(page, site)
    expect(page.get_by_text("A change did not reach TikTok:")).to_be_visible()
    expect(card(page, "Ad platforms")).to_contain_text("“Bid is below the minimum”")
    item = page.get_by_role("button", name=re.compile("Set bid.*TikTok: rejected"))
    item.click()
    story = card(page, r"Decisions \(1\)")
    expect(story).to_contain_text("(400, 40002)")
    story.get_by_text("What was sent").click()
    expect(story).to_contain_text("https://example.com/bid")
    page.get_by_role("link", name=re.compile("System.*1 in trouble")).click()
    expect(page.get_by_role("region", name="TikTok")).to_contain_text("1 rejected")
    newer = receipt(decision, "applied", receipt_id="r-2", decision_id="d-2", decision_offset=9)
    site.log.append(topics.RECEIPTS, 0, [encode_receipt(newer)])
    expect(page.get_by_text("A change did not reach TikTok:")).to_have_count(0)
    expect(page.get_by_text("Every change reached its platform")).to_be_visible()


def test_a_paused_page_asks_for_nothing(context: BrowserContext, site: Site) -> None:
    page = context.new_page()
    page.clock.install()
    page.goto(f"{site.url}/#/system")
    expect(page.get_by_text("No event has been refused.")).to_be_visible()
    with page.expect_request("**/dead-letters*"):
        page.clock.run_for(6_000)
    page.get_by_role("switch", name="Pause updates").click()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(20_000)
    assert asked == []


def test_dead_letters_are_shown_with_the_command_that_mends_them(page: Page, site: Site) -> None:
    raw = b'{"event_id": "e", "type": "<img src=x onerror=alert(1)>"}'
    letters = [
        dead_letter(raw, Reject.UNKNOWN_TYPE, "type", "not one", source="http/a:1", org_id="default", ts_ms=now_ms()),
        dead_letter(b"{", Reject.MALFORMED_JSON, "", "cut", source="http/a:2", org_id="default", ts_ms=now_ms()),
    ]
    site.log.append(topics.DEAD_LETTERS, 0, [msgspec.json.encode(letter) for letter in letters])
    page.get_by_role("link", name="System").click()
    expect(card(page, r"Dead letters \(2\)")).to_be_visible()
    page.get_by_role("button", name="Unknown type 1").click()
    shown = page.get_by_role("list", name="Dead letters")
    expect(shown.get_by_role("listitem")).to_have_count(1)
    shown.get_by_role("button", name=re.compile("Unknown type type not one")).click()
    expect(page.get_by_label("Raw text")).to_have_text(raw.decode())
    expect(page.get_by_label("Command")).to_have_text(
        f"penstock dlq fix {letters[0].dead_letter_id[:12]} --set type=VALUE"
    )


def test_a_campaign_is_created_edited_and_put_back(page: Page, site: Site) -> None:
    page.get_by_role("link", name="create the campaign first").click()
    page.get_by_label("Name").fill("Spring sale")
    expect(page.get_by_label("Id", exact=True)).to_have_value("spring-sale")
    page.get_by_label("Currency").fill("eu")
    page.get_by_label("Daily budget").fill("250")
    page.get_by_label("Start").fill("2026-07-01T09:00")
    page.get_by_label("End").fill("2026-06-01T09:00")
    page.get_by_label("Strategy").select_option("manual")
    page.get_by_role("button", name="Create campaign").click()
    expect(page.get_by_label("Currency")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Bid", exact=True)).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Currency").fill("eur")
    page.get_by_label("Bid", exact=True).fill("2.50")
    page.get_by_role("button", name="Create campaign").click()
    expect(page.get_by_text("End is not after Start")).to_be_visible()
    page.get_by_label("End").fill("")
    page.get_by_role("button", name="Create campaign").click()
    expect(page.get_by_text("The definition is stored in version 1.")).to_be_visible()
    made = site.store.campaign("default", "spring-sale").definition
    assert (made.currency, made.daily_budget_micros, made.time_zone) == ("EUR", 250_000_000, "Europe/Berlin")
    # 09:00 in Berlin in summer.
    assert made.start_ms == 1_782_889_200_000
    assert made.bidding is not None
    assert made.bidding.bid_micros == 2_500_000

    feed(site.log, live_row("spring-sale", 10, now_ms(), name="Spring sale"))
    page.get_by_role("link", name="Edit", exact=True).click()
    page.get_by_label("Daily budget").fill("300")
    page.get_by_role("button", name="Add a platform").click()
    page.get_by_label("Platform", exact=True).select_option("facebook")
    page.get_by_label("Account").fill("act 11")
    page.get_by_label("Campaign there").fill("2385")
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_label("Account")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Account").fill("act_11")
    page.get_by_role("button", name="Save changes").click()
    changes = card(page, "Changes of the definition")
    expect(changes).to_contain_text("Daily budget: €250.00 → €300.00")
    expect(card(page, "Ad platforms")).to_contain_text("No change was sent yet.")
    changes.get_by_role("button", name="Go back to version 1").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Go back to version 1").click()
    expect(changes).to_contain_text("Version 1 is in force again, as version 3.")
    assert site.store.campaign("default", "spring-sale").definition == made


def test_an_id_that_is_taken_is_refused_at_its_field(page: Page, site: Site) -> None:
    site.define("c1")
    page.goto(f"{site.url}/#/new")
    page.get_by_label("Name").fill("C1")
    page.get_by_label("Currency").fill("EUR")
    page.get_by_role("button", name="Create campaign").click()
    expect(page.get_by_text("There is a campaign with this id already")).to_be_visible()
    assert site.store.campaign("default", "c1").version == 1


def test_a_change_made_meanwhile_by_somebody_else_is_not_overwritten(page: Page, site: Site) -> None:
    site.define("c1")
    page.goto(f"{site.url}/#/campaigns/c1/edit")
    page.get_by_label("Daily budget").fill("10")
    site.define("c1", name="Renamed")
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_role("alert")).to_contain_text("Somebody else changed this campaign meanwhile")
    assert site.store.campaign("default", "c1").definition.daily_budget_micros == 500_000_000
