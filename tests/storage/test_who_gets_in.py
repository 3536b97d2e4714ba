"""Who gets in to the chDB service: no web page, nobody without the password, and no other user of the machine."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from storage.password import FILE_NAME, kept_password
from tests.support.chdb_service import ChdbService


@pytest.mark.parametrize("user", ["default", "analyst"])
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="a page of another site, without Origin"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, id="a page at another port of this machine"),
        pytest.param({"Origin": "https://evil.example"}, id="another origin"),
        pytest.param({"Origin": "null"}, id="an origin that hides itself"),
        pytest.param({"Origin": "http://localhost:3000"}, id="another origin on this machine"),
        pytest.param({"Host": "evil.example"}, id="a name that points to loopback"),
        pytest.param({"Host": "[::1"}, id="a name that is none"),
    ],
)
def test_no_web_page_reaches_the_service(service: ChdbService, user: str, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/?query=SELECT+1"), ("POST", "/?query=SELECT+1"), ("GET", "/ping")):
        auth = service.headers(user)
        answer = httpx.request(method, f"{service.address}{path}", headers=auth | headers)
        assert answer.status_code == 403, answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_address_typed_into_a_browser_is_answered(service: ChdbService) -> None:
    headers = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}
    assert httpx.get(f"{service.address}/?user=analyst&query=SELECT+1", headers=headers).text == "1\n"


def test_no_answer_is_taken_for_a_page(service: ChdbService) -> None:
    for path in ("/ping", "/?user=analyst&query=SELECT+1", "/?query=SELECT+1", "/nowhere"):
        assert httpx.get(f"{service.address}{path}").headers["x-content-type-options"] == "nosniff"


def test_default_asks_for_the_password_that_was_made(service: ChdbService) -> None:
    without = httpx.post(service.address, content="SELECT 1")
    assert (without.status_code, without.headers["x-clickhouse-exception-code"]) == (403, "516")
    assert httpx.post(service.address, content="SELECT 1", headers=service.headers()).text == "1\n"


def test_a_password_of_the_settings_goes_first(tmp_path: Path) -> None:
    service = ChdbService(tmp_path, clickhouse_password="mine")
    service.start()
    try:
        given = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": "mine"}
        assert httpx.post(service.address, content="SELECT 1", headers=given).text == "1\n"
        given["X-ClickHouse-Key"] = kept_password(tmp_path)
        assert httpx.post(service.address, content="SELECT 1", headers=given).status_code == 403
    finally:
        service.kill()


def test_nobody_else_on_the_machine_reads_the_password_or_the_data(service: ChdbService) -> None:
    assert stat.S_IMODE((service.data_dir / FILE_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE((service.data_dir / "clickhouse").stat().st_mode) == 0o700
    assert not (service.data_dir / "clickhouse" / FILE_NAME).exists(), "the engine must not be able to read it"


def test_processes_that_start_at_once_agree_on_one_password(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda _: kept_password(tmp_path / "data"), range(64)))
    assert len(found) == 1
    assert len(found.pop()) >= 24
    assert [path.name for path in (tmp_path / "data").iterdir()] == [FILE_NAME]
