"""A request has one id: in its answer, in the log, and in what the log of events keeps of it."""

from __future__ import annotations

import json
import logging

import pytest

from tests.api.conftest import Api, Apis


def test_a_request_keeps_its_id_in_answer_log_and_dead_letters(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="api.request_ids"):
        answer = api.post(b"not json", x_request_id="order-17")
    assert answer.headers["x-request-id"] == "order-17"
    assert [record.getMessage() for record in caplog.records] == ["POST /api/v1/events"]
    assert json.loads(api.log.records("events.dlq")[0])["source"] == "http/order-17:1"
    made_up = api.client.get("/healthz", headers={"X-Request-Id": "<script>"}).headers["x-request-id"]
    assert len(made_up) == 16


def test_an_answer_that_fails_has_an_id_too(apis: Apis) -> None:
    answer = apis.start().client.get("/api/v1/campaigns/none", headers={"X-Request-Id": "a.b"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (404, "a.b")
