"""The backtest command, and the bars on real auctions."""

from __future__ import annotations

import gzip
import json

import pytest
from typer.testing import CliRunner

from benchmarks.backtest import STRATEGIES, backtest, read_auctions
from cli.main import app
from tests.support.needs import shared_data

# The hardest and the easiest of the four; docs/bidding.md has all of them, by the command.
FRACTIONS = (1 / 64, 1 / 4)


@pytest.fixture(scope="module")
def files():
    folder = shared_data("ipinyou/auctions")
    return [read_auctions(path) for path in sorted(folder.glob("*.txt.gz"))]


@pytest.mark.parametrize("fraction", FRACTIONS, ids=lambda f: f"budget 1/{round(1 / f)}")
def test_max_clicks_keeps_the_bars_on_all_nine_files(files, fraction):
    rows = backtest(files, fraction, "max_clicks")
    assert len(rows) == 9
    assert sum(row.ratio for row in rows) / 9 >= 0.97
    assert all(row.overspend_micros == 0 for row in rows)
    assert max(row.evenness_points for row in rows) <= 5.0
    for row in rows:
        # No bidder whose spend is even reaches 93% where the bound itself lies below it: campaign 2997 at 1/64.
        reachable = row.even_bound_ratio is not None and row.even_bound_ratio >= 0.93
        assert row.ratio >= (0.93 if reachable else 0.89), row


def test_max_clicks_beats_what_it_is_compared_with(files):
    means = {s: sum(r.ratio for r in backtest(files[:4], 1 / 32, s)) / 4 for s in STRATEGIES}
    assert max(means, key=lambda s: means[s]) == "max_clicks"


def test_a_wrong_traffic_forecast_costs_value_but_no_overspend(files):
    for error in (-0.2, 0.2):
        rows = backtest(files[:3], 1 / 32, "max_clicks", forecast_error=error)
        assert all(row.overspend_micros == 0 and row.ratio > 0.7 for row in rows)


def test_first_price_spends_the_budget_and_never_more(files):
    row = backtest(files[3:4], 1 / 16, "max_clicks", first_price=True)[0]
    assert 0.95 * row.budget_micros <= row.spend_micros <= row.budget_micros
    assert row.ratio > 0.65


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_any_file_of_the_format_is_read_and_headers_are_skipped(tmp_path, compressed):
    text = b"3 1000\n1\n0 51 0.001\n1 20 0.002\n2\n0 0 0.0005\n"
    path = tmp_path / "mine.txt"
    path.write_bytes(gzip.compress(text) if compressed else text)
    auctions = read_auctions(path)
    assert auctions.price_micros.tolist() == [510_000, 200_000, 0]
    assert auctions.click.tolist() == [0, 1, 0]


@pytest.mark.parametrize("line", ["0 x 0.1", "2 5 0.1", "0 5 1.5", "0 -1 0.1"], ids=lambda s: f"line {s!r}")
def test_a_bad_line_is_refused_with_its_number(tmp_path, line):
    path = tmp_path / "bad.txt"
    path.write_text(f"0 1 0.1\n{line}\n")
    with pytest.raises(ValueError, match="line 2"):
        read_auctions(path)


def test_the_command_prints_every_figure_as_json(tmp_path):
    path = tmp_path / "small.txt"
    path.write_text("".join(f"{i % 50 == 0:d} {20 + i % 60} {0.0001 * (1 + i % 17)}\n" for i in range(3_000)))
    ran = CliRunner().invoke(app, ["backtest", "bidding", str(path), "--strategy", "all", "--json"])
    assert ran.exit_code == 0, ran.output
    printed = json.loads(ran.stdout)
    assert {row["strategy"] for row in printed["rows"]} == set(STRATEGIES)
    row = printed["rows"][0]
    assert row["spend_micros"] <= row["budget_micros"]
    assert row["ratio"] == pytest.approx(row["expected_clicks"] / row["hindsight_expected_clicks"], abs=1e-4)
    assert printed["summary"][0]["files"] == 1


@pytest.mark.parametrize(
    "arguments", [["nowhere.txt"], ["nowhere.txt", "--price", "third"]], ids=["no such file", "no such price"]
)
def test_the_command_refuses_what_it_cannot_run(arguments):
    assert CliRunner().invoke(app, ["backtest", "bidding", *arguments]).exit_code == 2
