"""How the dashboard's files are served."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from api.dashboard import dashboard_routes
from tests.dashboard.conftest import DASHBOARD
from tests.support.needs import need


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "index-abc.js").write_text("1")
    (tmp_path / "index.html").write_text('<script nonce="__CSP_NONCE__"></script>')
    (tmp_path / "favicon.svg").write_text("<svg/>")
    return TestClient(Starlette(routes=dashboard_routes(tmp_path)))


@pytest.mark.parametrize("path", ["/", "/index.html"], ids=["root", "by name"])
def test_the_page_has_a_policy_with_a_nonce_of_its_own(client: TestClient, path: str) -> None:
    nonces = set()
    for _ in range(2):
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        found = re.search(r"script-src 'self' 'nonce-([\w-]+)'", policy)
        assert found is not None
        assert f'nonce="{found[1]}"' in answer.text
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-cache"
        nonces.add(found[1])
    assert len(nonces) == 2


def test_files_named_by_their_content_are_kept_for_good(client: TestClient) -> None:
    assert "immutable" in client.get("/assets/index-abc.js").headers["cache-control"]
    assert "immutable" not in client.get("/favicon.svg").headers["cache-control"]


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/assets/gone.js", "/metrics/x", "/%2e%2e/%2e%2e/etc/passwd"])
def test_what_is_not_the_dashboards_is_not_the_page(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404 or "root:" not in answer.text


def test_a_dashboard_that_is_not_built_says_how_to_build_it(tmp_path: Path) -> None:
    answer = TestClient(Starlette(routes=dashboard_routes(tmp_path / "dist"))).get("/")
    assert answer.status_code == 503
    assert "npm run build" in answer.text


def test_the_logic_of_the_dashboard_holds(dist: Path) -> None:
    need(shutil.which("npm") is not None, "npm is not installed")
    need((DASHBOARD / "node_modules" / "vitest").exists(), "the dashboard's node_modules are not installed")
    done = subprocess.run(["npm", "test"], cwd=DASHBOARD, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
