"""Corrections over REST: answers line by line, pages, and nobody else's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest

from api.auth import ApiKeys
from api.corrections import REQUEST_MAX
from schemas import topics
from schemas.campaigns import Campaign
from schemas.corrections import COUNTERS, Correction, decode_correction
from tests.api.conftest import NOW_MS, Api, Apis

DAY = "2025-12-30"
KEYS = ApiKeys.parse("ka:acme, kb:other")


class FakeHistory:
    """Corrections that ClickHouse would have, by the order in which they were applied."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def apply(self, correction: Correction, applied_ms: int) -> None:
        row = {name: getattr(correction, name) for name in correction.__struct_fields__}
        self.rows.append(row | {"applied_ms": applied_ms, "late": True, "refused": False})

    def corrections_by_id(self, org_id: str, ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        return [row for row in self.rows if row["org_id"] == org_id and row["correction_id"] in ids]

    def spend_of_days(self, org_id: str, campaign_id: str, low_ms: int, high_ms: int) -> Sequence[tuple[int, int, int]]:
        return []

    def has_campaign(self, org_id: str, campaign_id: str) -> bool:
        return False

    def corrections(
        self, org_id: str, campaign_id: str, cause: str, before: tuple[int, str], limit: int
    ) -> Sequence[Mapping[str, Any]]:
        fitting = [
            row
            for row in self.rows
            if row["org_id"] == org_id
            and campaign_id in ("", row["campaign_id"])
            and cause in ("", row["cause"])
            and (row["applied_ms"], row["correction_id"]) < before
        ]
        return sorted(fitting, key=lambda row: (row["applied_ms"], row["correction_id"]), reverse=True)[:limit]

    def corrected(
        self, org_id: str, campaign_id: str, from_ms: int, to_ms: int
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        now = dict.fromkeys(COUNTERS, 90) | {"from_ms": 5, "to_ms": 9, "days": 1}
        return now, dict.fromkeys(COUNTERS, -10) | {"corrections": 2}


@pytest.fixture
def history() -> FakeHistory:
    return FakeHistory()


@pytest.fixture
def api(apis: Apis, history: FakeHistory) -> Api:
    started = apis.start(corrections=history, keys=KEYS, partitions=2)
    for org_id in ("acme", "other"):
        campaign = Campaign(campaign_id=f"c-{org_id}", name="C", currency="EUR", org_id=org_id)
        started.store.put_campaign(campaign, changed_by="me", now_ms=NOW_MS)
    return started


def given(**fields: Any) -> dict[str, Any]:
    return {"campaign_id": "c-acme", "cause": "refund", "reference": "r1", "day": DAY, "clicks": -1} | fields


def post(api: Api, *corrections: dict[str, Any], key: str = "ka", **params: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}", "X-Penstock-User": "ann"}
    return api.client.post("/api/v1/corrections", json={"corrections": corrections}, headers=headers, params=params)


def get(api: Api, path: str = "", key: str = "ka", **params: Any) -> httpx.Response:
    return api.client.get(f"/api/v1/corrections{path}", headers={"Authorization": f"Bearer {key}"}, params=params)


def sent(api: Api) -> list[Correction]:
    records = [record for p in (0, 1) for record in api.log.records(topics.CORRECTIONS, p)]
    return [decode_correction(record) for record in records]


def test_a_correction_is_sent_and_says_by_whom(api: Api) -> None:
    answer = post(api, given(spend_micros=-2_500_000, note="credit note 7"))
    assert answer.status_code == 200
    assert answer.json()["sent"] == 1
    (told,) = answer.json()["answers"]
    assert (told["line"], told["outcome"], told["detail"]) == (1, "sent", "clicks -1, spend -2.5")
    (correction,) = sent(api)
    assert correction.correction_id == told["correction_id"]
    assert (correction.org_id, correction.campaign_id, correction.clicks) == ("acme", "c-acme", -1)
    assert correction.by.startswith("ann (key ")
    assert (correction.noted_ms, correction.note) == (NOW_MS, "credit note 7")


def test_each_gets_an_answer_and_the_rest_goes_through(api: Api) -> None:
    answer = post(api, given(), given(campaign_id="nobody"), given(), given(clicks=-2), given(reference="r2")).json()
    assert [told["outcome"] for told in answer["answers"]] == ["sent", "refused", "known", "refused", "sent"]
    assert (answer["sent"], answer["known"], answer["refused"]) == (2, 1, 2)
    assert len(sent(api)) == 2


def test_one_that_was_applied_is_known(api: Api, history: FakeHistory) -> None:
    post(api, given())
    history.apply(sent(api)[0], 5)
    assert post(api, given()).json()["known"] == 1
    assert len(sent(api)) == 1


def test_a_dry_run_sends_nothing(api: Api) -> None:
    assert post(api, given(), dry_run=True).json()["sent"] == 1
    assert sent(api) == []


def test_another_organisations_campaign_is_none_and_looks_like_none(api: Api) -> None:
    of_another, of_nobody = (
        post(api, given(campaign_id=name)).json()["answers"][0] for name in ("c-other", "c-nobody")
    )
    assert of_another["detail"].replace("c-other", "c-nobody") == of_nobody["detail"]
    assert of_another["outcome"] == "refused"
    assert post(api, given(org_id="other")).status_code == 422
    assert sent(api) == []


@pytest.mark.parametrize(
    ("corrections", "status", "field"),
    [
        ([], 422, "corrections"),
        ([given(clicks=0)], 422, "corrections.0"),
        ([given(clicks=1.5)], 422, "corrections.0.clicks"),
        ([given(cause="late_duplicate")], 422, "corrections.0.cause"),
        ([given(reference="")], 422, "corrections.0.reference"),
        ([given(spend_micros=10**16)], 422, "corrections.0.spend_micros"),
        ([given()] * (REQUEST_MAX + 1), 422, "corrections"),
    ],
)
def test_what_is_no_correction_is_told_by_field(
    api: Api, corrections: list[dict[str, Any]], status: int, field: str
) -> None:
    answer = post(api, *corrections)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert field in [each["field"] for each in answer.json()["errors"]]
    assert sent(api) == []


def test_pages_follow_one_another_and_are_of_the_callers_organisation(api: Api, history: FakeHistory) -> None:
    for number in range(5):
        post(api, given(reference=f"r{number}"))
    for number, correction in enumerate(sent(api)):
        history.apply(correction, 100 + number // 2)
    found: list[str] = []
    page = get(api, limit=2).json()
    while True:
        found += [each["correction_id"] for each in page["corrections"]]
        if page["next_before"] is None:
            break
        page = get(api, limit=2, before=page["next_before"]).json()
    newest = sorted(history.rows, key=lambda row: (row["applied_ms"], row["correction_id"]), reverse=True)
    assert found == [row["correction_id"] for row in newest]
    assert get(api, key="kb").json() == {"corrections": [], "next_before": None}
    assert get(api, campaign_id="c-other").json()["corrections"] == []
    assert len(get(api, cause="refund").json()["corrections"]) == 5
    assert get(api, cause="note").json()["corrections"] == []


@pytest.mark.parametrize(
    "params", [{"limit": 0}, {"limit": 1_001}, {"before": "x"}, {"before": "9" * 17}, {"cause": "no"}]
)
def test_bounds_of_a_page_are_held(api: Api, params: dict[str, Any]) -> None:
    assert get(api, **params).status_code == 422


def test_totals_are_reported_difference_and_corrected(api: Api) -> None:
    told = get(api, "/totals", campaign_id="c-acme").json()
    assert told["reported"]["spend_micros"] == 100
    assert told["difference"]["spend_micros"] == -10
    assert told["corrected"]["spend_micros"] == 90
    assert (told["corrections"], told["from_ms"], told["to_ms"]) == (2, 5, 9)
    assert get(api, "/totals").status_code == 422
    assert get(api, "/totals", campaign_id="c", from_ms=9, to_ms=9).status_code == 422


def test_without_a_key_nothing_is_read_or_corrected(api: Api) -> None:
    assert post(api, given(), key="wrong").status_code == 401
    assert get(api, key="wrong").status_code == 401


def test_an_organisation_that_sends_too_many_waits_and_others_do_not(api: Api) -> None:
    many = [given(reference=f"r{number}") for number in range(REQUEST_MAX)]
    assert post(api, *many).status_code == 200
    refused = post(api, given(reference="more"))
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert post(api, given(campaign_id="c-other"), key="kb").status_code == 200


def test_without_clickhouse_changes_go_through_and_invoices_do_not(apis: Apis) -> None:
    api = apis.start()
    api.store.put_campaign(Campaign(campaign_id="c", name="C", currency="EUR"), changed_by="me", now_ms=NOW_MS)
    both = [given(campaign_id="c"), given(campaign_id="c", reference="r2", clicks=0, invoiced_micros=5)]
    answer = api.client.post("/api/v1/corrections", json={"corrections": both})
    assert [told["outcome"] for told in answer.json()["answers"]] == ["sent", "refused"]
    assert api.client.get("/api/v1/corrections").status_code == 503


def test_a_log_that_is_away_is_told_and_the_same_again_is_right(api: Api) -> None:
    api.log.down = True
    assert post(api, given()).status_code == 503
    api.log.down = False
    assert post(api, given()).json()["sent"] == 1


def test_the_document_names_them(api: Api) -> None:
    document = api.client.get("/openapi.json", headers={"Authorization": "Bearer ka"}).json()
    assert {"get", "post"} <= set(document["paths"]["/api/v1/corrections"])
    assert {"CorrectionsIn", "Given", "CorrectionPage", "AnswersOut", "Corrected"} <= set(
        document["components"]["schemas"]
    )
