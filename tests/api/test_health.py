"""Health, readiness, metrics, and what the OpenAPI document promises."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.api.conftest import Api
from tests.support.until import until


def test_health_answers_whatever_else_is_wrong(api: Api) -> None:
    api.log.down = True
    assert api.client.get("/healthz").json()["status"] == "ok"
    assert api.client.head("/healthz").status_code == 200


async def test_readiness_names_the_part_that_is_wrong(api: Api) -> None:
    await until(lambda: api.client.get("/readyz").status_code == 200)
    api.log.down = True
    api.store.engine.dispose()
    answer = api.client.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    assert answer.json()["parts"] == {"log": "the memory log was told to be down", "control": "ok", "serving": "ok"}


def test_metrics_are_prometheus_text_with_help(api: Api) -> None:
    api.post(b"x")
    families = {family.name: family for family in text_string_to_metric_families(api.client.get("/metrics").text)}
    rejected = families["penstock_collector_events_rejected"]
    assert rejected.documentation
    assert any(sample.labels.get("reason") == "malformed_json" for sample in rejected.samples)


def _refs(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(_refs, node.values()))
    return set().union(*map(_refs, node)) if isinstance(node, list) else set()


def test_the_openapi_document_refers_only_to_what_it_holds(api: Api) -> None:
    document = api.client.get("/openapi.json").json()
    held = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert _refs(document) <= held
    assert "HTTPValidationError" not in str(document)


def test_the_openapi_document_has_every_public_address(api: Api) -> None:
    document = api.client.get("/openapi.json").json()
    campaign = "/api/v1/campaigns/{campaign_id}"
    assert {
        "/api/v1/events", "/api/v1/pixel.gif", "/api/v1/click", "/api/v1/campaigns", campaign, f"{campaign}/changes",
        f"{campaign}/revert", f"{campaign}/override", f"{campaign}/overrides", f"{campaign}/serving",
        f"{campaign}/kpis", "/api/v1/serving", "/api/v1/decisions", "/api/v1/decisions/{decision_id}",
        "/api/v1/decisions/{decision_id}/approve", "/api/v1/decisions/{decision_id}/reject",
        "/api/v1/decisions/{decision_id}/undo", "/healthz", "/readyz", "/metrics",
    } <= set(document["paths"])  # fmt: skip
    body = document["paths"][campaign]["put"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/Campaign"}
