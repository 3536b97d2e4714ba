from __future__ import annotations

import pickle

import numpy as np

from schemas.batch import EventBatch, SeriesColumns, SeriesKey
from schemas.decode import SeriesTable, decode_chunk
from schemas.decode.dictionary import put_codes
from schemas.decode.words import SPREAD
from schemas.events import TS_MS_MIN
from schemas.log import Chunk
from tests.support.series import series_of


def batch_of(campaigns: range, table: SeriesTable | None = None, *, slow: bool = False) -> EventBatch:
    """One click for each campaign number; with an escaped letter, so that the row decoder reads it, when slow."""
    letter = "\\u0063" if slow else "c"
    payload = "".join(
        f'{{"event_id":"e{n}","type":"click","ts":{TS_MS_MIN},"campaign_id":"{letter}-{n}","country":"DE"}}\n'
        for n in campaigns
    ).encode()
    return decode_chunk(Chunk("events", 0, payload, 0, len(payload)), now_ms=TS_MS_MIN, series=table).batch


def campaigns_of(batch: EventBatch) -> list[str]:
    return [batch.series.key(code).campaign_id for code in batch.series_code.tolist()]


def test_a_series_keeps_its_code_from_chunk_to_chunk() -> None:
    table = SeriesTable()
    first, second = batch_of(range(5_000), table), batch_of(range(2_000, 9_000), table)
    assert first.series is second.series is table.columns
    assert second.series_code[:3_000].tolist() == first.series_code[2_000:].tolist()
    assert campaigns_of(second) == [f"c-{n}" for n in range(2_000, 9_000)]
    assert len(table.columns) == len(set(table.columns.every_key())) == 9_000


def test_the_row_decoder_finds_the_codes_that_the_scanner_gave() -> None:
    table = SeriesTable()
    fast, slow = batch_of(range(10), table), batch_of(range(5, 15), table, slow=True)
    assert slow.series_code[:5].tolist() == fast.series_code[5:].tolist()
    assert campaigns_of(slow) == [f"c-{n}" for n in range(5, 15)]


def test_a_full_table_starts_a_new_list_and_leaves_the_old_one_to_its_batches() -> None:
    table = SeriesTable(series_max=100)
    first, second = batch_of(range(80), table), batch_of(range(80, 160), table)
    assert first.series is not second.series
    assert campaigns_of(first) == [f"c-{n}" for n in range(80)]
    assert campaigns_of(second) == [f"c-{n}" for n in range(80, 160)]


def test_a_chunk_larger_than_the_table_still_has_one_list() -> None:
    line = '{"event_id":"e","type":"click","ts":%d,"campaign_id":"%s"}\n'
    names = [f"c-{n}" if n % 2 else f"\\u0063-{n}" for n in range(300)]
    payload = "".join(line % (TS_MS_MIN, name) for name in names).encode()
    chunk = Chunk("events", 0, payload, 0, len(payload))
    batch = decode_chunk(chunk, now_ms=TS_MS_MIN, series=SeriesTable(series_max=100)).batch
    assert campaigns_of(batch) == [f"c-{n}" for n in range(300)]


def test_without_a_table_a_batch_has_only_its_own_series() -> None:
    batch_of(range(10))
    assert batch_of(range(3, 5)).series.every_key() == [
        SeriesKey("default", f"c-{n}", "", "", "DE", "") for n in (3, 4)
    ]


def test_a_batch_takes_only_its_own_series_along_when_it_is_sent_to_another_process() -> None:
    table = SeriesTable()
    batch_of(range(1_000), table)
    sent = batch_of(range(1_000), table).take(np.array([700, 3, 700]))
    received = pickle.loads(pickle.dumps(sent))
    assert campaigns_of(received) == ["c-700", "c-3", "c-700"]
    assert len(received.series) == 2
    assert received.event_hash.tolist() == sent.event_hash.tolist()


def test_organisations_whose_hashes_are_equal_have_codes_of_their_own() -> None:
    """As if somebody had found a campaign id whose hash is that of another organisation's campaign."""
    theirs = [SeriesKey("victim", "shoes", "x", "", "", ""), SeriesKey("victim", "hats", "x", "", "", "")]
    ours = [SeriesKey("attacker", "a", "x", "", "", ""), SeriesKey("attacker", "b", "x", "", "", "")]
    table, wanted = SeriesTable(), series_of(ours)
    columns = series_of(theirs, table)
    for name, codes, count in (
        ("series", table._series, 2),
        ("campaigns", table._campaigns, 2),
        ("organisations", table._organisations, 1),
    ):
        hashes = getattr(wanted, name)["hash"][:count].copy()
        getattr(columns, name)["hash"][:count] = hashes
        codes.slots[:] = -1
        put_codes(hashes, codes.slots, SPREAD)
    assert series_of(ours, table) is columns
    assert columns.every_key() == theirs + ours


def test_texts_made_up_to_crowd_into_a_slot_are_spread() -> None:
    crowded = (np.arange(50_000, dtype=np.uint64) << np.uint64(32)) + np.uint64(77)
    slots, spread = np.full(1 << 17, -1, np.int32), np.uint64(0xD1B54A32D192ED03)
    put_codes(crowded, slots, spread)
    taken = np.flatnonzero(slots >= 0)
    homes = (crowded[slots[taken]] * spread >> np.uint64(32)).astype(np.int64) & (len(slots) - 1)
    assert len(taken) == len(crowded)
    assert ((taken - homes) & (len(slots) - 1)).max() < 200


def test_long_texts_start_new_columns_before_many_series_do() -> None:
    table = SeriesTable(text_bytes_max=30_000)
    columns = [
        series_of([SeriesKey("o", f"{n}-{k}", "x" * 128, "", "", "") for k in range(50)], table) for n in range(9)
    ]
    assert len({id(one) for one in columns}) > 1
    assert len(columns[0]) >= 50
    assert all(int(one.marks[3]) < 30_000 for one in columns)


def test_columns_joined_from_parts_of_other_processes_name_the_same_series() -> None:
    keys = [SeriesKey(org, f"c{n}", "é", "", "DE", "") for org in ("a", "b") for n in range(4)]
    parts = [pickle.loads(pickle.dumps(series_of(some))) for some in (keys[:3], keys[2:], [])]
    assert SeriesColumns.joined(parts).every_key() == keys[:3] + keys[2:]


def test_pickled_columns_hold_bytes_and_no_object_a_series() -> None:
    columns = series_of([SeriesKey("o", f"c{n}", f"x{n}", "", "", "") for n in range(1_000)])
    small, large = (len(pickle.dumps(columns.take(np.arange(n)))) for n in (10, 1_000))
    assert (large - small) / 990 < 75
