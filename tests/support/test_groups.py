"""Tests that share what takes long to start, or type one after another, run in one process."""

from __future__ import annotations

import os

import pytest


@pytest.mark.xdist_group("stay-together")
def test_a_group_is_in_the_name_by_which_tests_are_divided(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ and request.config.option.loadgroup:
        assert request.node.nodeid.endswith("@stay-together")
