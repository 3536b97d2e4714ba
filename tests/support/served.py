"""What the dataflow would say in topic `serving`, where a test runs none: by the model of `serving_fold`."""

from __future__ import annotations

from schemas import topics
from schemas.log import Chunk, Log
from schemas.serving import Serving, encode_serving, key_of
from tests.support.logs import all_records
from tests.support.serving_fold import ServingFold


def words_of(control: list[bytes]) -> Chunk:
    """Words that follow from these records of topic `control`."""
    words = b"".join(encode_serving(state) + b"\n" for state in _states(control))
    return Chunk(topics.SERVING, 0, words, 0, len(words))


def say_words(log: Log) -> None:
    """Append the words that follow from all that topic `control` holds."""
    states = _states(all_records(log, topics.CONTROL, 0))
    log.append(topics.SERVING, 0, [encode_serving(s) for s in states], keys=[key_of(s) for s in states])


def _states(control: list[bytes]) -> list[Serving]:
    fold = ServingFold(lambda topic, error: None)
    payload = b"".join(record + b"\n" for record in control)
    fold.take(Chunk(topics.CONTROL, 0, payload, 0, len(payload)))
    return fold.snapshot()
