"""clickhouse-connect beyond what the store uses: its async client, external data, compression, streams."""

from __future__ import annotations

import asyncio
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.external import ExternalData

from tests.clients.conftest import C1_ABOVE_1000, CAMPAIGNS, Asker

NAMES = ["analyst", "ann", "default"]


def given(asker: Asker, **more: Any) -> dict[str, Any]:
    who = {"username": asker.name, "password": asker.password, "database": "penstock"}
    return {"host": "127.0.0.1", "port": asker.service.port, **who, **more}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip", False])
def test_the_sync_client(askers: dict[str, Asker], name: str, compress: Any) -> None:
    asker = askers[name]
    with clickhouse_connect.get_client(**given(asker, compress=compress)) as client:
        assert client.query("SELECT currentUser(), currentDatabase()").result_rows == [(name, "penstock")]
        assert client.query(C1_ABOVE_1000).result_rows == asker.client.query(C1_ABOVE_1000).result_rows
        bound = "SELECT count() FROM events_clean WHERE campaign_id = %(c)s AND cost_micros > %(m)s"
        assert client.query(bound, {"c": "c1", "m": 1000}).result_rows == client.query(C1_ABOVE_1000).result_rows
        with client.query_row_block_stream("SELECT number FROM numbers(200000)") as stream:
            assert sum(len(block) for block in stream) == 200_000
        assert client.query_arrow(CAMPAIGNS).num_rows == 3
        assert client.query_np("SELECT number FROM numbers(3)").shape == (3, 1)


@pytest.mark.parametrize("name", NAMES)
async def test_the_async_client(askers: dict[str, Asker], name: str) -> None:
    asker = askers[name]
    client = await clickhouse_connect.get_async_client(**given(asker))
    try:
        who = await client.query("SELECT currentUser() AS me, user(), currentRoles()")
        assert who.result_rows == [(name, name, [])]
        assert who.column_names == ("me", "user()", "currentRoles()")
        found = await asyncio.gather(*(client.query(CAMPAIGNS) for _ in range(6)))
        assert all(one.result_rows == asker.client.query(CAMPAIGNS).result_rows for one in found)
        with pytest.raises(DatabaseError):
            await client.query("SELECT nope FROM events_clean")
    finally:
        await client.close()


@pytest.mark.parametrize("name", NAMES)
async def test_external_data(askers: dict[str, Asker], name: str) -> None:
    asker = askers[name]
    picked = ExternalData(file_name="picked", data=b"c1,1\nc2,2\n", fmt="CSV", structure=["id String", "n UInt8"])
    picked.add_file(file_name="more", data=b'{"m": 7}\n', fmt="JSONEachRow", structure="m UInt8")
    query = "SELECT count() FROM events_clean WHERE campaign_id IN (SELECT id FROM picked WHERE n < {n:UInt8})"
    c1 = asker.client.query("SELECT count() FROM events_clean WHERE campaign_id = 'c1'").result_rows
    assert asker.client.query(query, {"n": 2}, external_data=picked).result_rows == c1
    assert asker.client.query("SELECT m FROM more", external_data=picked).result_rows == [(7,)]
    client = await clickhouse_connect.get_async_client(**given(asker, form_encode_query_params=True))
    try:
        assert (await client.query(query, {"n": 2}, external_data=picked)).result_rows == c1
    finally:
        await client.close()
