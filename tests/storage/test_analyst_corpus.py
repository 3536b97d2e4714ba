"""What an analyst may and may not: attacks and harmless statements as data, one a line."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.storage.conftest import Database
from tests.support.chdb_service import ChdbService

_HERE = Path(__file__).parent
ATTACKS = [line for line in (_HERE / "attacks.txt").read_text().splitlines() if line]
HARMLESS = [line for line in (_HERE / "harmless.txt").read_text().splitlines() if line]
# What the wall of statements answers with: not allowed, or not a statement.
REFUSED = {"62", "164", "497"}
SECRET = "hush-hush"


def ask(service: ChdbService, query: str, **given: str) -> httpx.Response:
    return httpx.post(service.address, params={"user": "analyst"} | given, content=query.encode(), timeout=60)


@pytest.fixture
def nobody() -> Iterator[socket.socket]:
    """A port that nobody must connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


# The service's own folder is open to its process, so that a file there shows whether the statement was stopped, and
# not the operating system.
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_stopped_before_the_engine_runs_it(
    service: ChdbService, empty_database: Database, nobody: socket.socket, attack: str
) -> None:
    folder = service.data_dir / "clickhouse"
    (folder / "secret.csv").write_text(f"{SECRET}\n")
    query = attack.replace("{secret}", f"{folder}/secret.csv").replace("{folder}", str(folder))
    query = query.replace("{port}", str(nobody.getsockname()[1])).replace("\\n", "\n")
    parameters = {"param_p": "file", "param_t": f"{folder}/secret.csv", "param_s": "processes", "param_d": "system"}
    answer = ask(service, query, database=empty_database.name, **parameters)
    assert answer.status_code != 200, answer.text[:300]
    unknown = {"46", "47", "60", "81", "456", "457", "48", "36"}
    assert answer.headers["x-clickhouse-exception-code"] in REFUSED | unknown, answer.text[:300]
    assert SECRET not in answer.text
    assert not (folder / "written").exists()
    # Who connects to this port otherwise is another test whose server had it before.
    if "{port}" not in attack:
        return
    with pytest.raises(BlockingIOError):
        nobody.accept()


@pytest.mark.parametrize("query", HARMLESS)
def test_what_bi_tools_ask_is_answered(service: ChdbService, empty_database: Database, query: str) -> None:
    answer = ask(service, query, database=empty_database.name)
    assert answer.status_code == 200, answer.text[:500]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        pytest.param("max_memory_usage", "0", "164", id="no limit instead of one"),
        pytest.param("max_threads", "64", "164", id="more than the limit"),
        pytest.param("additional_table_filters", "{}", "164", id="another organisation's rows"),
        pytest.param("format_schema", "/etc/passwd", "164", id="a file"),
        pytest.param("no_such_setting", "1", "164", id="an unknown one"),
        pytest.param("max_result_bytes", "10000000000", "164", id="a larger result"),
        pytest.param("max_execution_time", "300", "", id="a longer time is cut"),
        pytest.param("max_result_rows", "10", "", id="less than the limit"),
        pytest.param("output_format_json_quote_64bit_integers", "0", "", id="the answer's form"),
        pytest.param("session_timezone", "Europe/Berlin", "", id="a time zone"),
        pytest.param("http_headers_progress_interval_ms", "100", "", id="what means nothing here"),
        pytest.param("insert_quorum", "1", "", id="what is for writers"),
        pytest.param("readonly", "0", "", id="a word that is not listened to"),
    ],
)
def test_settings_are_taken_cut_ignored_or_refused(service: ChdbService, name: str, value: str, code: str) -> None:
    answer = ask(
        service, "SELECT getSetting('readonly'), getSetting('max_execution_time') FORMAT JSON", **{name: value}
    )
    assert answer.headers.get("x-clickhouse-exception-code", "") == code, answer.text
    if not code:
        data = json.dumps(answer.json()["data"])
        assert "1" in data
        assert "300" not in data
