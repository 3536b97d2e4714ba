from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from api.live.board import DECISIONS_MAX, Board
from api.live.frames import delta
from api.live.protocol import ROWS_PER_FRAME
from schemas.campaigns import Campaign, CampaignStatus
from schemas.decisions import encode_decision
from tests.support.live_feed import live_row, pause

NOW_MS = 1_760_000_000_000


def seen(board: Board, since: int, wanted: frozenset[str] | None = None) -> list[str]:
    frame = delta(board, "default", since, wanted, NOW_MS)
    return [] if frame is None else [row["id"] for row in json.loads(frame.text)["rows"]]


def states(board: Board) -> list[str]:
    frame = delta(board, "default", 0, None, NOW_MS)
    return [] if frame is None else [row["state"] for row in json.loads(frame.text)["rows"]]


@settings(deadline=None)
@given(st.lists(st.integers(0, 7)), st.data())
def test_a_delta_holds_just_the_campaigns_that_changed_since_the_longest_waiting_first(
    changes: list[int], data: st.DataObject
) -> None:
    board = Board()
    for number in changes:
        board.put_row(live_row(f"c{number}", 1_000, NOW_MS))
    since = data.draw(st.integers(0, len(changes)))
    newest_last = list(dict.fromkeys(reversed(changes[since:])))[::-1]
    assert seen(board, since) == [f"c{number}" for number in newest_last]


def test_the_longest_unchanged_campaign_goes_when_the_board_is_full() -> None:
    board = Board(campaigns_max=2)
    for campaign_id in ("a", "b", "a", "c"):
        board.put_row(live_row(campaign_id, 1_000, NOW_MS))
    assert board.campaigns == 2
    assert seen(board, 0) == ["a", "c"]
    assert board.organisation("default").evicted_seq == 2


def test_whoever_has_most_goes_without_when_the_board_is_full() -> None:
    board = Board(campaigns_max=3)
    board.put_row(live_row("theirs", 1_000, NOW_MS, org_id="other"))
    for number in range(50):
        board.put_row(live_row(f"c{number}", 1_000, NOW_MS))
    assert list(board.organisation("other").campaigns) == ["theirs"]
    assert seen(board, 0) == ["c48", "c49"]


def test_an_archived_campaign_is_a_change_and_stays_one_whatever_its_events_say() -> None:
    board = Board()
    board.put_row(live_row("a", 1_000, NOW_MS))
    before = board.seq
    campaign = Campaign(campaign_id="a", name="A", currency="EUR", status=CampaignStatus.ARCHIVED)
    board.put_definition(campaign)
    board.put_definition(campaign)
    assert (seen(board, before), board.seq) == (["a"], before + 1)
    board.put_row(live_row("a", 2_000, NOW_MS))
    assert states(board) == ["archived"]
    board.put_definition(campaign.model_copy(update={"status": CampaignStatus.ACTIVE}))
    assert states(board) == ["active"]


def test_rows_of_another_organisation_are_not_in_the_delta() -> None:
    board = Board()
    board.put_row(live_row("theirs", 1_000, NOW_MS, org_id="other"))
    assert seen(board, 0) == []


def test_rows_beyond_the_limit_of_a_frame_wait_for_the_next() -> None:
    board = Board()
    for number in range(ROWS_PER_FRAME + 5):
        board.put_row(live_row(f"c{number}", 1_000, NOW_MS))
    first = delta(board, "default", 0, None, NOW_MS)
    assert first is not None
    assert first.seq == ROWS_PER_FRAME
    assert seen(board, first.seq) == [f"c{ROWS_PER_FRAME + number}" for number in range(5)]


def test_a_client_behind_the_kept_decisions_is_told_that_it_missed_some() -> None:
    board = Board()
    for step in range(DECISIONS_MAX + 1):
        decision = pause("c1", NOW_MS, step)
        board.put_decision(decision, encode_decision(decision))
    assert '"decisions_missed":true' in (delta(board, "default", 0, None, NOW_MS) or "").text
    assert '"decisions_missed"' not in (delta(board, "default", 1, None, NOW_MS) or "").text


def test_the_event_time_of_a_campaign_moves_only_when_its_counters_do() -> None:
    board = Board()
    board.put_row(live_row("c1", 1_000, NOW_MS))
    board.put_row(live_row("c1", 1_000, NOW_MS + 9_000))
    entry = board.organisation("default").campaigns["c1"]
    assert (entry.event_ms, entry.row.now_ms) == (NOW_MS, NOW_MS + 9_000)
    board.put_row(live_row("c1", 1_001, NOW_MS + 9_500))
    assert entry.event_ms == NOW_MS + 9_500


def test_a_campaign_that_was_idle_before_the_hub_started_is_not_shown_as_fresh() -> None:
    board = Board()
    row = live_row("c1", 1_000, NOW_MS)
    row.now_ms, row.watermark_ms = NOW_MS + 3_600_000, NOW_MS + 3_600_000
    board.put_row(row)
    board.put_row(live_row("c2", 0, NOW_MS))
    campaigns = board.organisation("default").campaigns
    assert campaigns["c1"].event_ms == NOW_MS + 10_000
    assert campaigns["c2"].event_ms == 0


def test_a_decision_that_the_flow_writes_again_is_shown_once() -> None:
    board = Board()
    for _ in range(2):
        decision = pause("c1", NOW_MS)
        board.put_decision(decision, encode_decision(decision))
    assert len(board.organisation("default").decisions.of_campaign("c1")) == 1
