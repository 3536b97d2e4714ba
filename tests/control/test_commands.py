"""`penstock campaign` and `penstock dlq` on an embedded log and control database, no api running."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli.logs import set_up
from cli.main import app
from cli.settings import Settings
from control.store import ControlStore
from ingest.admission import admit, encode_letter
from ingest.local_log import LocalLog
from schemas import topics
from schemas.control import CampaignRecord, OverrideRecord, decode_control
from schemas.serving import Serving, encode_serving

NOW_MS = 1_767_225_600_000
SHOES = {"id": "shoes", "name": "Shoes", "currency": "EUR", "daily_budget_micros": 5_000_000}


class Console:
    """Runs commands on a data folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runner = CliRunner(env={"PENSTOCK_DATA_DIR": str(folder), "PENSTOCK_PARTITIONS": "1"})

    def run(self, *words: str, **options: Any) -> Result:
        return self.runner.invoke(app, list(words), **options)

    def ok(self, *words: str, **options: Any) -> str:
        result = self.run(*words, **options)
        assert result.exit_code == 0, result.output
        return result.stdout

    def log(self) -> LocalLog:
        return LocalLog(self.folder / "log", partitions=1)

    def records(self, topic: str) -> list[bytes]:
        log = self.log()
        try:
            chunk = log.read(topic, 0, 0, 1 << 20)
            return chunk.records() if chunk is not None else []
        finally:
            log.close()


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return Console(tmp_path)


@pytest.fixture
def with_shoes(console: Console) -> Console:
    console.ok("campaign", "put", "-", input=json.dumps(SHOES))
    return console


def test_put_prints_id_and_version_and_tells_the_dataflow(console: Console) -> None:
    file = console.folder / "campaigns.json"
    file.write_text(json.dumps([SHOES, SHOES | {"id": "hats"}]))
    assert console.ok("campaign", "put", str(file)) == "shoes\t1\nhats\t1\n"
    assert console.ok("campaign", "put", str(file)) == "shoes\t1\nhats\t1\n"
    assert [decode_control(record).campaign_id for record in console.records(topics.CONTROL)] == ["shoes", "hats"]


def test_a_bad_definition_in_a_file_stores_none_of_it(console: Console) -> None:
    result = console.run("campaign", "put", "-", input=json.dumps([SHOES, SHOES | {"id": "hats", "currency": "x"}]))
    assert result.exit_code == 2
    assert "campaign hats: currency" in " ".join(result.stderr.replace("│", "").split())
    assert console.ok("campaign", "list") == ""


def test_a_budget_is_given_in_whole_units_and_can_be_undone(with_shoes: Console) -> None:
    assert with_shoes.ok("campaign", "budget", "shoes", "--daily", "7.25", "--total", "100") == (
        "shoes\t2\tdaily 7.25, total 100 EUR\n"
    )
    with_shoes.ok("campaign", "undo", "shoes")
    assert with_shoes.ok("campaign", "list") == "shoes\t3\tactive\tdaily 5 EUR\n"
    records = [decode_control(record) for record in with_shoes.records(topics.CONTROL)]
    budgets = [r.definition().daily_budget_micros for r in records if isinstance(r, CampaignRecord)]
    assert budgets == [5_000_000, 7_250_000, 5_000_000]


def test_the_list_tells_who_is_paused_and_why(with_shoes: Console) -> None:
    paused = Serving(
        org_id="default", campaign_id="shoes", seq=1, paused=True, pause_reason="daily_budget_reached", version=1
    )
    log = with_shoes.log()
    log.append(topics.SERVING, 0, [encode_serving(paused)])
    log.close()
    assert with_shoes.ok("campaign", "list") == "shoes\t1\tactive, paused: daily_budget_reached\tdaily 5 EUR\n"
    assert json.loads(with_shoes.ok("campaign", "list", "--json"))["paused_by"] == "daily_budget_reached"


@pytest.mark.parametrize("amount", ["much", "0", "1.0000001", "nan", "inf"])
def test_an_amount_that_is_none_is_refused(with_shoes: Console, amount: str) -> None:
    assert with_shoes.run("campaign", "budget", "shoes", "--daily", amount).exit_code == 2
    assert with_shoes.ok("campaign", "list") == "shoes\t1\tactive\tdaily 5 EUR\n"


def test_pause_resume_bid_and_lift_are_overrides_with_a_reason(with_shoes: Console) -> None:
    with_shoes.ok("campaign", "pause", "shoes", "--note", "out of stock")
    with_shoes.ok("campaign", "resume", "shoes")
    with_shoes.ok("campaign", "bid", "shoes", "900000")
    with_shoes.ok("campaign", "lift", "shoes")
    records = [decode_control(record) for record in with_shoes.records(topics.CONTROL)]
    given = [(r.action, r.bid_micros, r.note) for r in records if isinstance(r, OverrideRecord)]
    assert given == [
        ("pause", None, "out of stock"),
        ("resume", None, ""),
        ("set_bid", 900_000, ""),
        ("lift", None, ""),
    ]
    shown = json.loads(with_shoes.ok("campaign", "show", "shoes"))
    assert [override["action"] for override in shown["overrides"]] == ["pause", "resume", "set_bid", "lift"]


def test_an_archived_campaign_is_not_listed_and_undo_takes_it_out_again(with_shoes: Console) -> None:
    assert with_shoes.ok("campaign", "archive", "shoes").split() == ["shoes", "2", "archived"]
    assert with_shoes.ok("campaign", "list") == ""
    assert "shoes" in with_shoes.ok("campaign", "list", "--archived")
    with_shoes.ok("campaign", "undo", "shoes")
    assert "shoes" in with_shoes.ok("campaign", "list")


def test_an_unknown_campaign_is_one_clear_line(console: Console) -> None:
    result = console.run("campaign", "pause", "hats")
    assert (result.exit_code, result.stderr) == (1, "penstock: there is no campaign 'hats'\n")


def test_a_command_for_people_prints_no_lines_of_migrations_whatever_logging_says(console: Console) -> None:
    set_up("api", Settings(log_level="info"))
    result = console.run("campaign", "pause", "hats")
    assert (result.exit_code, result.stderr) == (1, "penstock: there is no campaign 'hats'\n")


def test_a_process_of_its_own_still_logs_its_migrations(console: Console, capsys: pytest.CaptureFixture[str]) -> None:
    console.ok("campaign", "list")
    set_up("api", Settings(log_level="info"))
    ControlStore.open("", console.folder / "another").close()
    assert "Running upgrade" in capsys.readouterr().err


@pytest.fixture
def with_letters(console: Console) -> Console:
    rows = [
        {"event_id": "e1", "type": "sale", "ts": NOW_MS, "campaign_id": "shoes"},
        {"event_id": "e2", "type": "click", "ts": NOW_MS + 86_400_000, "campaign_id": "shoes"},
    ]
    payload = b"\n".join(json.dumps(row).encode() for row in rows)
    refused = admit(payload, org_id="default", now_ms=NOW_MS, partitions=1, source="http/r").refused
    log = console.log()
    log.append(topics.DEAD_LETTERS, 0, [encode_letter(each.letter) for each in refused])
    log.close()
    return console


def letters(console: Console, *more: str) -> dict[str, dict[str, Any]]:
    rows = map(json.loads, console.ok("dlq", "list", "--json", *more).splitlines())
    return {row["reason"]: row for row in rows}


def test_a_letter_is_fixed_sent_again_and_settled(with_letters: Console) -> None:
    letter_id = letters(with_letters)["unknown_type"]["dead_letter_id"]
    assert json.loads(with_letters.ok("dlq", "show", letter_id[:10]))["field"] == "type"
    with_letters.ok("dlq", "fix", letter_id, "--set", "type=conversion", "--set", "revenue_micros=5")
    (record,) = map(json.loads, with_letters.records(topics.EVENTS))
    assert (record["event_id"], record["type"], record["revenue_micros"]) == ("e1", "conversion", 5)
    assert list(letters(with_letters)) == ["ts_in_future"]
    assert letters(with_letters, "--all")["unknown_type"]["settled"] == "fixed"


def test_a_fix_that_is_still_wrong_says_why_and_settles_nothing(with_letters: Console) -> None:
    letter_id = letters(with_letters)["unknown_type"]["dead_letter_id"]
    result = with_letters.run("dlq", "fix", letter_id, "--set", "type=sold")
    assert (result.exit_code, "unknown_type" in result.stderr) == (1, True)
    assert with_letters.records(topics.EVENTS) == []
    assert len(letters(with_letters)) == 2


def test_replay_of_all_sends_what_is_right_by_now_and_counts_what_is_not(with_letters: Console) -> None:
    result = with_letters.run("dlq", "replay", "--all")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (1, "1 replayed, 1 still refused")
    assert [json.loads(record)["event_id"] for record in with_letters.records(topics.EVENTS)] == ["e2"]
    assert list(letters(with_letters)) == ["unknown_type"]


def test_a_dropped_letter_is_settled_without_an_event(with_letters: Console) -> None:
    with_letters.ok("dlq", "drop", letters(with_letters)["unknown_type"]["dead_letter_id"])
    assert list(letters(with_letters)) == ["ts_in_future"]
    assert with_letters.records(topics.EVENTS) == []
