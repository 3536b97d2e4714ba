"""The dashboard and the alerts in ops/ name only metrics and labels that a process exports; promtool agrees."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from flows.metrics import Meter
from tests.support.needs import need

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "ops" / "prometheus" / "alerts.yml"
TESTS = ROOT / "ops" / "prometheus" / "alerts_test.yml"
DASHBOARD = ROOT / "ops" / "grafana" / "penstock.json"
# What the processes import: api, store, actuate; the flow has a registry of its own.
EXPORTING = ("api.app", "storage.store.run", "platforms.host")
NAME = re.compile(r"\b(penstock_\w+)(?:\{([^}]*)\})?")
LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
# Prometheus adds these itself.
ADDED = {"instance", "job", "le"}


def exported() -> dict[str, set[str]]:
    """Every series name that a process can export, with its labels."""
    for module in EXPORTING:
        importlib.import_module(module)
    found: dict[str, set[str]] = {}
    for registry in (REGISTRY, Meter().registry):
        for collector in list(registry._collector_to_names):
            labels = set(getattr(collector, "_labelnames", ()))
            kind = getattr(collector, "_type", "")
            for name in registry._collector_to_names[collector]:
                if kind == "counter" and not name.endswith("_total"):
                    continue
                if kind == "histogram" and not name.endswith(("_bucket", "_sum", "_count")):
                    continue
                found[name] = labels
    return found


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def dashboard_expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


@pytest.mark.parametrize("source", ["alerts", "dashboard"])
def test_every_metric_and_label_they_name_is_exported(source: str) -> None:
    known = exported()
    expressions = [rule["expr"] for rule in alerts()] if source == "alerts" else dashboard_expressions()
    assert len(expressions) > 10
    for expression in expressions:
        named = NAME.findall(expression)
        assert named, f"names no metric: {expression}"
        for name, selectors in named:
            assert name in known, f"no process exports {name}: {expression}"
            wrong = set(LABEL.findall(selectors)) - known[name] - ADDED
            assert not wrong, f"{name} has no label {wrong}: {expression}"
        grouped = {label.strip() for by in re.findall(r"\bby \(([^)]*)\)", expression) for label in by.split(",")}
        assert grouped <= set().union(*(known[name] for name, _ in named)) | ADDED, expression


def test_every_alert_is_explained_and_has_a_test() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    anchors = {re.sub(r"[^a-z0-9-]", "", line[4:].lower()) for line in page.splitlines() if line.startswith("### ")}
    for rule in alerts():
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["alert"].lower() in anchors, f"docs/operations.md has no heading `### {rule['alert']}`"
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_every_metric_is_documented() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    absent = [name for name in exported() if name.startswith("penstock_") and _base(name) not in page]
    absent = sorted({_base(name) for name in absent})
    assert not absent, f"docs/operations.md, table of metrics: {absent}"


def _base(name: str) -> str:
    return re.sub(r"_(bucket|sum|count|created)$", "", name)


@pytest.mark.parametrize("words", [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]])
def test_promtool_agrees(words: list[str]) -> None:
    promtool = shutil.which("promtool")
    need(promtool is not None, "promtool is not installed (Debian: package prometheus)")
    done = subprocess.run([str(promtool), *words], cwd=ALERTS.parent, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
