"""Strategies in the simulated market keep their goals and their budgets."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from bidding.simulation.run import local_day, simulate
from bidding.simulation.scenarios import BIDDINGS, SCENARIOS
from cli.main import app


@pytest.mark.parametrize("strategy", ["target_cpa", "target_roas"])
@pytest.mark.parametrize("scenario", ["steady", "steady_first_price"])
def test_a_goal_is_met_within_five_percent_in_a_steady_market(scenario, strategy):
    result = simulate(SCENARIOS[scenario], BIDDINGS[strategy], seed=1)
    assert result.goal_miss is not None
    assert abs(result.goal_miss) <= 0.05
    assert result.overspend_micros == 0
    assert result.halts == 0


@pytest.mark.parametrize("scenario", ["price_war", "budget_cut", "clock_change", "traffic_drop"])
def test_max_clicks_gets_most_of_what_hindsight_would_in_a_market_that_changes(scenario):
    result = simulate(SCENARIOS[scenario], BIDDINGS["max_clicks"], seed=2)
    assert result.value_ratio > 0.93
    assert result.overspend_micros <= 0.002 * result.budget_micros
    assert result.spend_micros > 0.95 * result.budget_micros


def test_broken_tracking_halts_automation_and_it_goes_on_afterwards():
    result = simulate(SCENARIOS["broken_tracking"], BIDDINGS["target_cpa"], seed=1)
    assert result.halts >= 1
    assert 6.0 < result.halted_hours < 24.0


def test_equal_seeds_give_equal_results_and_others_do_not():
    first, again, other = (simulate(SCENARIOS["steady"], BIDDINGS["manual"], seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_local_day_has_the_hours_of_its_clock():
    start, end = local_day(1_774_767_600_000, "Europe/Berlin")
    assert end - start == 23 * 3_600_000


def test_the_command_prints_its_figures_as_json():
    ran = CliRunner().invoke(app, ["simulate", "--scenario", "steady", "--strategy", "manual", "--seed", "3", "--json"])
    assert ran.exit_code == 0, ran.output
    row = json.loads(ran.stdout)["rows"][0]
    assert (row["scenario"], row["strategy"], row["seed"], row["bid_changes"]) == ("steady", "manual", 3, 0)


def test_the_command_names_the_scenarios_it_knows():
    ran = CliRunner().invoke(app, ["simulate", "--scenario", "calm"])
    assert ran.exit_code == 2
