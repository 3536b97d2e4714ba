"""Files that the commands of the README read are made by commands, and the same seed makes the same file."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from benchmarks.auction_files import write_auction_file
from benchmarks.event_files import MANY_SERIES, write_event_file
from ingest.replay.auctions import Auction, read_auctions
from ingest.replay.lines import RecordedFile


def test_a_generated_auction_file_holds_auctions_that_the_reader_takes(tmp_path: Path) -> None:
    path = tmp_path / "auctions.txt.gz"
    write_auction_file(path, 5_000, seed=3)
    auctions = [one for one in read_auctions(RecordedFile(path)) if isinstance(one, Auction)]
    assert len(auctions) == 5_000
    assert 40 < sorted(auction.market_price_fen for auction in auctions)[2_500] < 120
    expected = sum(auction.p_click for auction in auctions)
    assert abs(sum(auction.clicked for auction in auctions) - expected) < 5 * expected**0.5


def test_the_same_seed_makes_the_same_auction_file(tmp_path: Path) -> None:
    for name, seed in (("a.txt.gz", 1), ("b.txt.gz", 1), ("c.txt.gz", 2)):
        write_auction_file(tmp_path / name, 1_000, seed)
    first, again, other = ((tmp_path / name).read_bytes() for name in ("a.txt.gz", "b.txt.gz", "c.txt.gz"))
    assert first == again != other


def test_an_event_file_whose_name_ends_in_gz_holds_the_plain_file_compressed(tmp_path: Path) -> None:
    write_event_file(tmp_path / "events.ndjson", 500, seed=5)
    write_event_file(tmp_path / "events.ndjson.gz", 500, seed=5)
    plain = (tmp_path / "events.ndjson").read_bytes()
    assert gzip.decompress((tmp_path / "events.ndjson.gz").read_bytes()) == plain


def test_nearly_every_event_of_a_file_of_many_series_has_its_own(tmp_path: Path) -> None:
    write_event_file(tmp_path / "many.ndjson", 20_000, seed=5, market=MANY_SERIES)
    write_event_file(tmp_path / "again.ndjson", 20_000, seed=5, market=MANY_SERIES)
    raw = (tmp_path / "many.ndjson").read_bytes()
    assert raw == (tmp_path / "again.ndjson").read_bytes()
    events = [json.loads(line) for line in raw.splitlines()]
    names = ("campaign_id", "creative_id", "channel", "country", "device")
    assert len({tuple(event[name] for name in names) for event in events}) > 0.95 * len(events)
    assert len({event["campaign_id"] for event in events}) == 1_000
    assert len({event["creative_id"] for event in events}) == 2_000
    assert 260 < len(raw) / len(events) < 285
