"""Whatever comes: an answer in the standard's form or a refusal as a whole, never an error of ours, in bounded time."""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from api.openrtb.validity import IMPRESSIONS_MAX
from tests.api.openrtb.test_golden import GOLDEN, NOW_MS, bidder_with

BASES: Final = [
    case["request"] for path in sorted(GOLDEN.glob("*.json")) for case in json.loads(path.read_text())
]  # fmt: skip
CREATIVES: Final = [
    creative
    for path in sorted(GOLDEN.glob("markup.json"))
    for case in json.loads(path.read_text())[:4]
    for creative in case["campaign"]["creatives"]
]
BIDDER: Final = bidder_with({"creatives": CREATIVES, "deals": ["d1"]})
STRANGE: Final = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just([]), st.just({}),
    st.sampled_from([-1, 0, 2**63, 1e308, "{", "\x00", "é", [None], {"id": None}, [[[]]], "1" * 5_000]),
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a message."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


def changed(value: Any, path: tuple[Any, ...], new: Any, how: str) -> Any:
    """The message with one place replaced, dropped or doubled."""
    whole = copy.deepcopy(value)
    if not path:
        return new
    at = whole
    for key in path[:-1]:
        at = at[key]
    match how:
        case "drop":
            del at[path[-1]]
        case "double" if isinstance(at, list):
            at.append(copy.deepcopy(at[path[-1]]))
        case _:
            at[path[-1]] = new
    return whole


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    request: Any = draw(st.sampled_from(BASES))
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(places(request)))
        request = changed(request, path, draw(STRANGE), draw(st.sampled_from(["replace", "drop", "double"])))
    return request


def must_be_an_answer(answer: bytes | None, request: Any) -> None:
    if answer is None:
        return
    told = json.loads(answer)
    assert isinstance(told["id"], str)
    assert ("seatbid" in told) != ("nbr" in told)
    if "nbr" in told:
        assert told["ext"]["reason"]
        return
    slots = {imp["id"]: imp for imp in request["imp"]}
    bids = told["seatbid"][0]["bid"]
    assert len({bid["impid"] for bid in bids}) == len(bids)
    for bid in bids:
        slot = slots[bid["impid"]]
        kind = {1: "banner", 2: "video", 3: "audio", 4: "native"}[bid["mtype"]]
        assert slot[kind] is not None
        assert 0 < bid["price"] <= 2.0
        assert bid["adomain"]
        assert bid["crid"]
        assert "{click" not in bid["adm"]
        assert "${CLICK_" not in bid["adm"]
        assert "dealid" in bid or (slot.get("pmp") or {}).get("private_auction") != 1


@settings(max_examples=1_500, deadline=None)
@given(request=mutated())
def test_a_changed_request_gets_an_answer_in_form(request: Any) -> None:
    body = json.dumps(request).encode(errors="replace")
    must_be_an_answer(BIDDER.answer(body, "default"), request)


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=200), cut=st.integers(0, 400))
def test_a_body_of_any_bytes_gets_an_answer_in_form(body: bytes, cut: int) -> None:
    whole = json.dumps(BASES[0]).encode()
    assert BIDDER.answer(body, "default") is None or b"nbr" in (BIDDER.answer(body, "default") or b"")
    BIDDER.answer(whole[:cut] + body, "default")


def test_many_slots_and_campaigns_end_in_time() -> None:
    """By the bidder's own clock, which here goes on by a millisecond a look: work, not the machine, is measured."""
    bidder = bidder_with(*({"campaign_id": f"c{n}", "creatives": CREATIVES} for n in range(300)))
    looks = itertools.count(NOW_MS)
    bidder.now_ms = lambda: next(looks)
    slots = [{"id": str(n), "banner": {"w": 1, "h": 1}} for n in range(IMPRESSIONS_MAX)]
    answer = bidder.answer(json.dumps({"id": "r", "imp": slots, "tmax": 40}).encode(), "default")
    assert json.loads(answer or b"")["nbr"] == 15
    # Past half of tmax it takes one look a slot, where 300 campaigns on each slot would take four.
    assert 20 <= next(looks) - NOW_MS < 2 * IMPRESSIONS_MAX
    too_many = [{"id": str(n), "banner": {"w": 300, "h": 250}} for n in range(IMPRESSIONS_MAX + 1)]
    answer = bidder.answer(json.dumps({"id": "r", "imp": too_many}).encode(), "default")
    assert json.loads(answer or b"")["nbr"] == 2
