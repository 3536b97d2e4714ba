"""The OpenAPI document: what FastAPI finds, with msgspec's types and the one shape that errors have."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from api.campaigns import OverrideIn, Revert
from api.collector import Collected
from api.corrections import CorrectionsIn
from api.openrtb import openapi as openrtb
from api.problems import ProblemDetails
from schemas.campaigns import Campaign
from schemas.decisions import Decision
from schemas.events import Event
from schemas.serving import Serving

_REF: Final = "#/components/schemas/{name}"
_PROBLEM: Final = {
    "description": "A problem (RFC 9457).",
    "content": {"application/problem+json": {"schema": {"$ref": _REF.format(name="ProblemDetails")}}},
}
_UNUSED: Final = ("HTTPValidationError", "ValidationError")
_NO_KEY: Final = ("/healthz", "/readyz")


def install(app: FastAPI) -> None:
    """Make `app.openapi()` tell the truth about errors, keys, and types that are not pydantic's."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        separate_input_output_schemas=app.separate_input_output_schemas,
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in _UNUSED:
        schemas.pop(unused, None)
    _, of_structs = msgspec.json.schema_components([Collected, Decision, Event, Serving], ref_template=_REF)
    schemas.update(of_structs)
    schemas.update(_model_schemas(ProblemDetails, Campaign, Revert, OverrideIn, CorrectionsIn))
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _finish(path, operation)
    if app.state.wiring.openrtb is not None:
        openrtb.describe(document)
    return document


def _model_schemas(*models: type[BaseModel]) -> dict[str, Any]:
    """Schemas of what is taken or answered without FastAPI's knowing."""
    asked: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "validation") for model in models]
    _, made = models_json_schema(asked, ref_template=_REF.replace("{name}", "{model}"))
    definitions: dict[str, Any] = made["$defs"]
    return definitions


def _finish(path: str, operation: dict[str, Any]) -> None:
    """Errors of an operation are problems; it takes a key, or none where the api has none."""
    responses = operation["responses"]
    # FastAPI announces a 422 with its own shape for everything that has a parameter.
    if "422" in responses:
        responses["422"] = _PROBLEM
    if path in _NO_KEY:
        return
    operation["security"] = [{}, {"bearer": []}, {"key": []}]
    responses.setdefault("default", _PROBLEM)
