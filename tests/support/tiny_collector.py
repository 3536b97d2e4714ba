"""A collector in forty lines, and a campaign whose budget it watches: what `penstock replay` talks to in tests."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


@dataclass
class TinyCollector:
    """Keeps events by id. `answers` are given first, as (status, headers), before it takes anything."""

    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    key: str = ""
    lines_max: int = 1_000_000
    budget_micros: int | None = None
    bid_micros: int | None = None
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: int = 0

    @property
    def app(self) -> Starlette:
        """What to serve."""
        post = Route("/api/v1/events", self._take, methods=["POST"])
        return Starlette(routes=[post, Route("/api/v1/campaigns/{campaign_id}/serving", self._serve)])

    @property
    def spent_micros(self) -> int:
        """Cost of every event taken."""
        return sum(event.get("cost_micros", 0) for event in self.events.values())

    async def _take(self, request: Request) -> Response:
        self.requests += 1
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return JSONResponse({"detail": "no valid API key"}, 401)
        if self.answers:
            status, headers = self.answers.pop(0)
            return JSONResponse({"detail": "not now"}, status, headers)
        lines = (await request.body()).splitlines()
        if len(lines) > self.lines_max:
            return JSONResponse({"detail": "too many lines"}, 413)
        errors = []
        for number, line in enumerate(lines, start=1):
            event = json.loads(line)
            if "event_id" in event:
                self.events[event["event_id"]] = event
            else:
                errors.append({"line": number, "field": "event_id", "reason": "missing_field", "detail": "is needed"})
        accepted = len(lines) - len(errors)
        return JSONResponse(
            {"accepted": accepted, "rejected": len(errors), "errors": errors, "errors_truncated": False},
            202 if accepted else 400,
        )

    async def _serve(self, request: Request) -> Response:
        campaign_id = request.path_params["campaign_id"]
        if campaign_id != "2821":
            return JSONResponse({"detail": "no such campaign"}, 404)
        paused = self.budget_micros is not None and self.spent_micros >= self.budget_micros
        bid = {} if self.bid_micros is None else {"bid_micros": self.bid_micros}
        return JSONResponse({"org_id": "default", "campaign_id": campaign_id, "paused": paused, **bid})
