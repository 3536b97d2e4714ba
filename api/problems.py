"""Errors as problem details (RFC 9457): one shape for every refusal, with a code that programs can act on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from control.errors import (
    ControlError,
    FixedFieldError,
    OverrideError,
    UnknownCampaignError,
    UnknownVersionError,
    VersionConflictError,
)
from schemas.log import LogUnavailableError

_log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 1


class FieldError(BaseModel):
    """One field that was refused."""

    field: str
    detail: str


class ProblemDetails(BaseModel):
    """RFC 9457, section 3. `type` is urn:penstock:problem:<code>."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None


class Problem(Exception):  # noqa: N818 - the field's word
    """A refusal: status, a code for programs, a sentence for people that says what to do."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str,
        *,
        retry_after_s: int | None = None,
        errors: list[dict[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.errors = errors
        self.headers = headers


def log_unavailable(error: LogUnavailableError) -> Problem:
    """The log cannot take or give records."""
    return Problem(503, "log_unavailable", "The log is unavailable", str(error), retry_after_s=RETRY_AFTER_S)


_CONTROL_STATUS: Final = {
    UnknownCampaignError: (404, "unknown_campaign", "No such campaign"),
    UnknownVersionError: (404, "unknown_version", "No such version"),
    VersionConflictError: (409, "version_conflict", "Changed by someone else"),
    FixedFieldError: (422, "fixed_field", "This field cannot change"),
    OverrideError: (422, "bad_override", "This override makes no sense"),
}


def answer(problem: Problem) -> Response:
    """The response that tells of a problem."""
    # The one header that also the answer to a defect needs, which no middleware sees.
    headers = {"X-Content-Type-Options": "nosniff", **(problem.headers or {})}
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="penstock"'
    told: dict[str, Any] = {
        "type": f"urn:penstock:problem:{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.errors is not None:
        told["errors"] = problem.errors
    return JSONResponse(told, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


def invalid(errors: Any) -> Problem:
    """A request that pydantic refused: each field with its own detail; the place of the body is left out of it."""
    told = [
        {
            "field": ".".join(str(part) for part in error["loc"] if part not in ("body", "query", "path", "header")),
            "detail": str(error["msg"]),
        }
        for error in errors
    ]
    detail = "; ".join(f"{error['field'] or 'body'}: {error['detail']}" for error in told[:3])
    return Problem(422, "invalid_request", "The request is not valid", detail, errors=told)


def install(app: FastAPI) -> None:
    """Make the app answer every error as problem details."""

    @app.exception_handler(Problem)
    async def _problem(_: Request, error: Problem) -> Response:
        return answer(error)

    @app.exception_handler(ControlError)
    async def _control(_: Request, error: ControlError) -> Response:
        return answer(Problem(*_CONTROL_STATUS[type(error)], str(error)))

    @app.exception_handler(LogUnavailableError)
    async def _no_log(_: Request, error: LogUnavailableError) -> Response:
        return answer(log_unavailable(error))

    @app.exception_handler(SQLAlchemyError)
    async def _no_database(_: Request, error: SQLAlchemyError) -> Response:
        _log.error("the control database failed: %s", error)
        detail = "The control database does not answer; see the log of the api."
        title = "The control plane is unavailable"
        return answer(Problem(503, "control_unavailable", title, detail, retry_after_s=RETRY_AFTER_S))

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        return answer(invalid(error.errors()))

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Response:
        response = answer(Problem(error.status_code, "http", str(error.detail), str(error.detail)))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(ClientDisconnect)
    async def _gone(_: Request, error: ClientDisconnect) -> Response:
        # Nobody reads this; it only keeps a sender that hung up from looking like a defect in the log.
        return answer(Problem(400, "disconnected", "The sender hung up", "The body did not come whole."))

    @app.exception_handler(Exception)
    async def _bug(_: Request, error: Exception) -> Response:
        return answer(Problem(500, "internal", "Internal error", "This is a defect; the log of the api has its trace."))
