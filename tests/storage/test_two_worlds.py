"""Nothing that an organisation's analyst asks tells of another's values.

There are two worlds with the same rows of his and other rows, as many and as long, of somebody else. Whatever he asks,
both answer with the same bytes: result or error, and its words.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from storage.client import connect
from storage.schema import prepare
from tests.support.chdb_service import ChdbService

# With a dash before them: those that are refused.
_LINES = [line for line in (Path(__file__).parent / "probes.txt").read_text().splitlines() if line]
PROBES = {line.removeprefix("- "): line.startswith("- ") for line in _LINES}
# Of each world: what the other organisation, its campaigns and everything else of it are called, its days, its place.
WORLDS = {
    "world_a": ("two-a", "GUESS7", "2026-01-20", "2026-07-20", 7777),
    "world_b": ("two-b", "OTHER9", "2026-01-10", "2026-08-10", 8888),
}
_EVENTS = """INSERT INTO events (event_id, org_id, campaign_id, publisher_id, keyword, country, user_id, extra, ts,
    log_offset)
SELECT toString(number), org, word, word, word, word, word, word,
    toDateTime64(multiIf(mine, '2026-01-01', number % 4 = 0, '{late}', '{day}'), 3, 'UTC'), if(mine, number, {place})
FROM (SELECT number, number % 2 AS mine, if(mine, 'one', '{org}') AS org, if(mine, 'mine', '{word}') AS word
    FROM numbers(40))"""
# In every table rows of both organisations lie in one part, and some of the other's in a part of their own.
_OTHERS = (
    """INSERT INTO kpi_windows (org_id, campaign_id, level, window, country, window_start, window_end, version)
SELECT org_id, campaign_id, 'campaign', arrayJoin(['10s', '1h', 'day']), country, ts, ts, 1 FROM events""",
    """INSERT INTO decisions (decision_id, org_id, campaign_id, kind, mode, reason, ts)
SELECT event_id, org_id, campaign_id, 'pause', 'auto', keyword, ts FROM events""",
    """INSERT INTO dead_letters (dead_letter_id, org_id, field, reason, ts)
SELECT event_id, org_id, keyword, keyword, ts FROM events""",
    """INSERT INTO campaigns (org_id, campaign_id, name, currency, time_zone, version)
SELECT DISTINCT org_id, campaign_id, keyword, keyword, if(campaign_id = 'mine', 'UTC', keyword), 1 FROM events""",
    """INSERT INTO corrections (correction_id, org_id, campaign_id, ts, cause, country, noted_by, note, spend_micros)
SELECT event_id, org_id, campaign_id, ts, 'note', country, keyword, keyword, if(org_id = 'one', 5, length(day) * 7)
FROM (SELECT *, '{day}' AS day FROM events)""",
    "INSERT INTO stored_logs (identity, since) VALUES ('{word}', '{day}')",
    "CREATE TABLE lowered (org_id String, campaign_id LowCardinality(String)) ENGINE = MergeTree ORDER BY org_id",
    "INSERT INTO lowered SELECT org_id, campaign_id FROM events",
    "CREATE VIEW lowered_view AS SELECT * FROM lowered",
)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbService]:
    """Both worlds as databases of one service, and its analyst of organisation `one`."""
    service = ChdbService(tmp_path_factory.mktemp("worlds"), clickhouse_analysts="ann:pw:one")
    service.start()
    for world, (org, word, day, late, place) in WORLDS.items():
        with prepare(service.url(world), raw_ttl_days=3650, window_ttl_days=3650):
            pass
        with connect(service.url(world)) as client:
            client.command(_EVENTS.format(org=org, word=word, day=day, late=late, place=place))
            for statement in _OTHERS:
                client.command(statement.format(word=word, day=day))
    yield service
    service.kill()


@pytest.fixture(scope="module")
def answers(worlds: ChdbService) -> dict[str, list[tuple[int, bytes]]]:
    """What each world answers to each probe."""
    with ThreadPoolExecutor(4) as pool:
        told = pool.map(lambda probe: [asked(worlds, world, probe) for world in WORLDS], PROBES)
        return dict(zip(PROBES, told, strict=True))


def asked(service: ChdbService, world: str, query: str) -> tuple[int, bytes]:
    """The answer's status and its bytes, but for the name of the world."""
    known = {"X-ClickHouse-User": "ann", "X-ClickHouse-Key": "pw", "X-ClickHouse-Database": world}
    answer = httpx.post(service.address, content=query, headers=known, timeout=60)
    return answer.status_code, answer.content.replace(world.encode(), b"world")


@pytest.mark.parametrize("probe", PROBES)
def test_both_worlds_answer_alike(answers: dict[str, list[tuple[int, bytes]]], probe: str) -> None:
    first, second = answers[probe]
    assert first == second
    assert (first[0] != 200) == PROBES[probe], first[1][:500]
    for told in (b"GUESS7", b"OTHER9", b"two-"):
        assert told not in first[1] or told in probe.encode()
