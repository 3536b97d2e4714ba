"""The operating system's wall: it holds where no statement is checked, as for `default`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from cli.doctor.clickhouse import check_wall
from cli.settings import Settings
from storage.service import confinement
from tests.storage.conftest import Database
from tests.support.chdb_service import ChdbService
from tests.support.needs import need


@pytest.fixture(autouse=True)
def _landlock() -> None:
    need(confinement.version() > 0, "this kernel has no Landlock")


def ask(service: ChdbService, query: str, user: str = "default") -> httpx.Response:
    return httpx.post(service.address, content=query, headers=service.headers(user), timeout=60)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/etc/hostname",
        "/proc/self/environ",
        "/proc/self/cmdline",
        "/proc/self/maps",
        "/proc/1/environ",
        "{data_dir}/clickhouse.password",
        "{data_dir}/clickhouse.log",
        "{data_dir}/../secret.txt",
        "{data_dir}/clickhouse/../clickhouse.password",
        "{root}/README.md",
        "{root}/tests/storage/conftest.py",
    ],
)
def test_no_statement_reads_a_file_outside_the_folder(service: ChdbService, path: str) -> None:
    (service.data_dir.parent / "secret.txt").write_text("secret\n")
    root = Path(__file__).resolve().parents[2]
    named = path.format(data_dir=service.data_dir, root=root)
    for query in (f"SELECT file('{named}')", f"SELECT * FROM file('{named}', 'LineAsString')"):
        answer = ask(service, query)
        assert answer.status_code != 200, answer.text[:200]
        assert "Permission denied" in answer.text or "PERMISSION" in answer.text or "doesn't exist" in answer.text


def test_no_statement_writes_a_file_outside_the_folder(service: ChdbService, tmp_path: Path) -> None:
    for query in (
        f"INSERT INTO FUNCTION file('{tmp_path}/written', 'CSV', 'a UInt8') SELECT 1",
        f"SELECT 1 INTO OUTFILE '{tmp_path}/written' FORMAT CSV",
        f"BACKUP DATABASE penstock TO File('{tmp_path}/written')",
    ):
        assert ask(service, query).status_code != 200
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_answer_is_not_written_into_the_services_own_folder(service: ChdbService, method: str) -> None:
    path = service.data_dir / "clickhouse" / "written"
    query = f"select 1 into/**/outfile '{path}'"
    answer = httpx.request(method, service.address, params={"query": query}, headers=service.headers())
    assert answer.headers["x-clickhouse-exception-code"] == "358"
    assert not path.exists()


def test_no_statement_connects_to_anything(service: ChdbService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.5)
        port = other.getsockname()[1]
        for query in (
            f"SELECT * FROM url('http://127.0.0.1:{port}/', 'LineAsString') SETTINGS http_max_tries = 1",
            f"SELECT * FROM remote('127.0.0.1:{port}', 'system.one') SETTINGS connections_with_failover_max_tries = 1",
            f"SELECT * FROM mysql('127.0.0.1:{port}', 'a', 'b', 'c', 'd')",
            f"INSERT INTO FUNCTION url('http://127.0.0.1:{port}/', 'CSV', 'a UInt8') SELECT 1",
        ):
            assert ask(service, query).status_code != 200
        with pytest.raises(TimeoutError):
            other.accept()


def test_no_statement_runs_a_program(service: ChdbService, tmp_path: Path) -> None:
    for query in (
        "SELECT * FROM executable('id', 'TSV', 'a String')",
        f"SELECT * FROM executable('touch {tmp_path}/made', 'TSV', 'a String')",
    ):
        assert ask(service, query).status_code != 200
    assert list(tmp_path.iterdir()) == []


def test_the_process_was_started_with_no_secret(tmp_path: Path) -> None:
    os.environ["SOME_CLOUD_KEY"] = "hush-cloud"
    service = ChdbService(tmp_path, api_keys="hush-key:one", clickhouse_password="hush-default", secret="hush-secret")
    try:
        service.start()
        shown = Path(f"/proc/{service.pid}/environ").read_bytes() + Path(f"/proc/{service.pid}/cmdline").read_bytes()
        assert b"hush" not in shown
        assert b"PENSTOCK" not in shown
        assert b"TZ=UTC" in shown
    finally:
        del os.environ["SOME_CLOUD_KEY"]
        service.kill()


def test_the_service_works_all_the_same(service: ChdbService, chdb_database: Database) -> None:
    client = chdb_database.client
    client.command("INSERT INTO dead_letters (dead_letter_id) SELECT toString(number) FROM numbers(1000)")
    client.command("OPTIMIZE TABLE dead_letters FINAL")
    client.command("ALTER TABLE dead_letters ADD COLUMN more String")
    sort = "SELECT count() FROM (SELECT number FROM numbers(3000000) ORDER BY sipHash64(number))"
    assert client.query(f"{sort} SETTINGS max_bytes_before_external_sort = 1000000").result_rows == [(3_000_000,)]
    zones = "SELECT toString(toDateTime('2026-07-01 00:00:00', 'UTC'), 'Australia/Lord_Howe')"
    assert client.query(zones).result_rows == [("2026-07-01 10:30:00",)]
    asked = ask(service, "SELECT value > 0 FROM system.asynchronous_metrics WHERE metric = 'MemoryResident'")
    assert asked.status_code in (200, 404)


def test_confinement_leaves_what_was_named_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    script = f"""
import socket
from pathlib import Path
from cli.doctor.clickhouse import check_wall
from cli.settings import Settings
from storage.service import confinement
assert confinement.confine(confinement.interpreter_folders(), ["{tmp_path}/mine"]) > 0
import decimal, email.message
here = Path("{tmp_path}")
(here / "mine" / "c").write_text((here / "mine" / "a").read_text())
(here / "mine" / "c").rename(here / "mine" / "d")
for what in (lambda: (here / "b").read_text(), lambda: (here / "e").write_text("e"), lambda: Path("/etc/passwd").open(),
             lambda: list(here.iterdir()), lambda: socket.create_connection(("127.0.0.1", {service_port()})),
             lambda: socket.create_server(("127.0.0.1", 0))):
    try:
        what()
    except PermissionError:
        continue
    raise SystemExit(f"allowed: {{what}}")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine" / "d").read_text() == "a"


def service_port() -> int:
    """A port to try; nobody need listen, as the wall comes first."""
    return 9


def test_doctor_says_what_holds_the_service(tmp_path: Path) -> None:
    finding = check_wall(Settings(data_dir=tmp_path))
    assert finding.ok
    assert finding.seen == f"Landlock ABI {confinement.version()}: files and network"


def test_a_machine_without_landlock_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confinement, "version", lambda: 0)
    assert "only the check of statements" in check_wall(Settings(data_dir=tmp_path)).seen
    assert confinement.confine([], []) == 0
