"""What the dataflow kept of a shard before version 5 is read by every way in which Penstock can be installed."""

from __future__ import annotations

import pickle
import sys

import pytest

from flows.logic import step
from flows.logic.step import Step
from flows.snapshots.versions import _pickled


def test_a_snapshot_of_an_installed_wheel_is_read_by_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"class": Step, "number": 7}
    # In a wheel all packages are below `penstock`.
    monkeypatch.setitem(sys.modules, "penstock.flows", sys.modules["flows"])
    monkeypatch.setitem(sys.modules, "penstock.flows.logic", sys.modules["flows.logic"])
    monkeypatch.setitem(sys.modules, "penstock.flows.logic.step", step)
    monkeypatch.setattr(Step, "__module__", "penstock.flows.logic.step")
    packed = pickle.dumps((pickle.dumps(state, protocol=5), []), protocol=5)
    monkeypatch.undo()
    assert b"penstock.flows.logic.step" in packed
    assert _pickled(packed) == state
