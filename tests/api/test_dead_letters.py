"""Dead letters and people's words on decisions, over REST."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from api.dead_letters import LETTERS_MAX, ORGANISATIONS_MAX, DeadLetterBoard
from control.letters import settle
from control.store import Word
from schemas import topics
from schemas.dead_letters import Reject, dead_letter
from schemas.log import Chunk
from tests.api.conftest import NOW_MS, Api
from tests.support.until import until


def letter(number: int, reason: Reject = Reject.BAD_VALUE, org_id: str = "default") -> bytes:
    raw = b'{"n": %d}' % number
    refused = dead_letter(raw, reason, "ts", "no", source=f"events/0@{number}", org_id=org_id, ts_ms=number)
    return msgspec.json.encode(refused)


def listed(api: Api, query: str = "") -> dict[str, Any]:
    found: dict[str, Any] = api.client.get(f"/api/v1/dead-letters{query}").json()
    return found


def chunk(*records: bytes) -> Chunk:
    payload = b"".join(record + b"\n" for record in records)
    return Chunk(topics.DEAD_LETTERS, 0, payload, 0, len(payload))


async def test_refused_events_are_counted_by_reason_and_the_newest_come_first(api: Api) -> None:
    assert listed(api) == {"counts": {}, "since_ms": None, "letters": []}
    letters = [letter(1), letter(2, Reject.MALFORMED_JSON), letter(3)]
    api.log.append(topics.DEAD_LETTERS, 0, letters)
    await until(lambda: listed(api)["letters"])
    found = listed(api, "?limit=2")
    assert found["counts"] == {"bad_value": 2, "malformed_json": 1}
    assert found["since_ms"] == 1
    assert [(each["ts_ms"], each["raw"]) for each in found["letters"]] == [(3, '{"n": 3}'), (2, '{"n": 2}')]


async def test_letters_of_one_reason_can_be_asked_for(api: Api) -> None:
    api.log.append(topics.DEAD_LETTERS, 0, [letter(1), letter(2, Reject.MALFORMED_JSON)])
    await until(lambda: listed(api)["letters"])
    assert [each["ts_ms"] for each in listed(api, "?reason=malformed_json")["letters"]] == [2]
    assert api.client.get("/api/v1/dead-letters?reason=weather").status_code == 422


async def test_a_letter_that_was_settled_says_how(api: Api) -> None:
    api.log.append(topics.DEAD_LETTERS, 0, [letter(1), letter(2)])
    await until(lambda: listed(api)["letters"])
    settle(api.store.engine, [listed(api)["letters"][0]["dead_letter_id"]], "fixed", settled_by="me", now_ms=1)
    assert [each["settled"] for each in listed(api)["letters"]] == ["fixed", None]


async def test_another_organisation_s_letters_are_not_shown(api: Api) -> None:
    api.log.append(topics.DEAD_LETTERS, 0, [letter(1, org_id="other"), letter(2)])
    await until(lambda: listed(api)["letters"])
    assert [each["ts_ms"] for each in listed(api)["letters"]] == [2]
    assert listed(api)["counts"] == {"bad_value": 1}


def test_a_letter_that_comes_again_is_counted_once() -> None:
    board = DeadLetterBoard()
    board.take(chunk(letter(1), letter(1)))
    refused = board.of("default")
    assert refused is not None
    assert refused.counts == {"bad_value": 1}


def test_memory_is_bounded_and_counts_are_not_cut() -> None:
    board = DeadLetterBoard()
    board.take(chunk(*(letter(number) for number in range(LETTERS_MAX + 5))))
    refused = board.of("default")
    assert refused is not None
    assert (len(refused.newest), refused.counts["bad_value"]) == (LETTERS_MAX, LETTERS_MAX + 5)
    board.take(chunk(*(letter(number, org_id=f"o{number}") for number in range(ORGANISATIONS_MAX))))
    assert board.of("default") is None


def test_a_record_that_is_no_letter_is_left_out() -> None:
    board = DeadLetterBoard()
    board.take(chunk(b"{}", letter(1)))
    assert board.of("default") is not None


@pytest.mark.parametrize("words", [[Word.REJECT], [Word.APPROVE, Word.UNDO]], ids=["one word", "the last of two"])
async def test_the_last_word_on_a_decision_is_listed(api: Api, words: list[Word]) -> None:
    for word in words:
        api.store.say("default", "c", "d1", word, changed_by="ann", now_ms=NOW_MS)
    api.store.say("other", "c", "d2", Word.REJECT, changed_by="ann", now_ms=NOW_MS)
    api.store.publish_outbox(api.log)

    def said() -> Any:
        return api.client.get("/api/v1/decision-words").json()

    await until(said)
    assert said() == [
        {"decision_id": "d1", "campaign_id": "c", "word": words[-1].value, "changed_by": "ann", "changed_ms": NOW_MS}
    ]
