"""The fixture of tests/conftest.py that ends a test's logging with the test."""

from __future__ import annotations

import logging
import sys

from cli.logs import set_up
from cli.settings import Settings


def test_a_test_that_sets_up_logging() -> None:
    set_up("api", Settings(log_level="debug"))
    assert logging.getLogger().level == logging.DEBUG


def test_leaves_none_of_it_to_the_next() -> None:
    root = logging.getLogger()
    assert root.level == logging.WARNING
    assert [each for each in root.handlers if type(each).__module__ == "cli.logs"] == []
    assert sys.excepthook is sys.__excepthook__ or sys.excepthook.__module__ != "cli.logs"
