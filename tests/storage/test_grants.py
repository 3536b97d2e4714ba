"""Statements for a ClickHouse server that keep an organisation's analyst to its own rows."""

from __future__ import annotations

import httpx
import pytest

from storage.grants import TABLES, grants
from tests.storage.conftest import Database
from tests.support.chdb_service import ChdbService

ANALYSTS = [("ann", "p'w", "one"), ("b`ob", "secret", "o'two\\")]


@pytest.mark.parametrize("said", grants("pen`stock", ANALYSTS))
def test_the_engine_reads_every_statement_as_it_is_meant(service: ChdbService, said: str) -> None:
    asked = {"param_q": said.replace("\\", "\\\\")}
    answer = httpx.post(
        service.address, params=asked, content="SELECT formatQuerySingleLine({q:String})", headers=service.headers()
    )
    assert answer.status_code == 200, answer.text
    assert answer.text.startswith(said.split(" ")[0])


def test_no_password_is_in_them() -> None:
    assert "secret" not in "".join(grants("penstock", ANALYSTS))


def test_every_table_with_an_organisation_has_a_policy(empty_database: Database) -> None:
    query = """SELECT table FROM system.columns
        WHERE database = currentDatabase() AND name = 'org_id'
            AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine != 'View')"""
    assert sorted(name for (name,) in empty_database.rows(query)) == sorted(TABLES)
