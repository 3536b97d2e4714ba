"""What is kept of a person, under which law."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.openrtb.test_bidder import World, ticket


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        pytest.param({}, "u1", id="nothing said"),
        pytest.param({"regs": {"gdpr": 0, "us_privacy": "1YNN", "gpp_sid": [-1]}}, "u1", id="nothing applies"),
        pytest.param({"regs": {"gdpr": 1}}, None, id="GDPR"),
        pytest.param({"regs": {"ext": {"gdpr": 1}}}, None, id="GDPR where 2.5 had it"),
        pytest.param({"regs": {"us_privacy": "1YYN"}}, None, id="opted out of sale"),
        pytest.param({"regs": {"ext": {"us_privacy": "1yyn"}}}, None, id="opted out where 2.5 had it"),
        pytest.param({"regs": {"gpp": "DBAA", "gpp_sid": [7]}}, None, id="a section of GPP"),
        pytest.param({"regs": {"gpp": "DBAA"}}, None, id="GPP without its sections"),
        pytest.param({"device": {"lmt": 1}}, None, id="limited tracking"),
        pytest.param({"device": {"dnt": 1}}, None, id="do not track"),
    ],
)
def test_the_person_is_kept_only_where_nothing_forbids_it(said: dict[str, Any], kept: str | None) -> None:
    world = World()
    booked = world.bidder.billing(ticket(world.bid(**said)["burl"]), "1.0")
    assert booked is not None
    assert booked[1].get("user_id") == kept
