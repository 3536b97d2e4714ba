"""Send events to a collector until it has taken them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import msgspec

# A request that fails is sent again after this long, doubled each time up to the longest.
_RETRY_FIRST_S: Final = 0.1
_RETRY_LONGEST_S: Final = 5.0
# Wrong address, wrong key, wrong content: sending again would give the same answer.
_FINAL: Final = frozenset({401, 403, 404, 405, 415, 422})


class RefusedError(Exception):
    """The server will not take what is sent, however often; the message says why."""


class LineError(msgspec.Struct):
    """One line the collector refused."""

    line: int
    field: str = ""
    reason: str = ""
    detail: str = ""


class _Collected(msgspec.Struct):
    accepted: int
    rejected: int
    errors: list[LineError] = []


@dataclass(slots=True)
class Sent:
    """What became of the events sent so far."""

    sent: int = 0
    accepted: int = 0
    rejected: int = 0
    retries: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


class Sender:
    """Posts events as NDJSON and waits for the answer; sending again is harmless, since event ids tell.

    `patience_s` is how long one batch is tried; `say` gets a line when the server keeps it waiting.
    """

    def __init__(self, client: httpx.Client, *, patience_s: float, say: Callable[[str], None]) -> None:
        self._client = client
        self._patience_s = patience_s
        self._say = say
        self.total = Sent()

    def send(self, batch: list[bytes]) -> list[tuple[bytes, LineError]]:
        """Send a batch; the records that were refused, with why. Raises RefusedError."""
        body = b"\n".join(batch) + b"\n"
        headers = {
            "content-type": "application/x-ndjson",
            "x-request-id": hashlib.blake2b(body, digest_size=16).hexdigest(),
        }
        response = self._answered(body, headers)
        if response.status_code == 413 and len(batch) > 1:
            half = len(batch) // 2
            return self.send(batch[:half]) + self.send(batch[half:])
        return self._counted(batch, response)

    def _counted(self, batch: list[bytes], response: httpx.Response) -> list[tuple[bytes, LineError]]:
        try:
            collected = msgspec.json.decode(response.content, type=_Collected)
        except msgspec.DecodeError as error:
            raise RefusedError(_said(response)) from error
        self.total.sent += len(batch)
        self.total.accepted += collected.accepted
        self.total.rejected += collected.rejected
        for line in collected.errors:
            reason = f"{line.field}: {line.reason}" if line.field else line.reason
            self.total.reasons[reason] = self.total.reasons.get(reason, 0) + 1
        return [(batch[line.line - 1], line) for line in collected.errors if 1 <= line.line <= len(batch)]

    def _answered(self, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """The first answer that is not "again later"."""
        deadline = time.monotonic() + self._patience_s
        wait_s = _RETRY_FIRST_S
        while True:
            asked_s: float | None = None
            try:
                response = self._client.post("/api/v1/events", content=body, headers=headers)
            except httpx.TransportError as error:
                trouble = f"cannot reach {self._client.base_url}: {error}"
            else:
                if response.status_code in _FINAL:
                    raise RefusedError(_said(response))
                if response.status_code != 429 and response.status_code < 500:
                    return response
                trouble = _said(response)
                asked_s = _retry_after_s(response)
            if time.monotonic() + (asked_s or wait_s) > deadline:
                raise RefusedError(f"{trouble}; gave up after {self._patience_s:g} s")
            if wait_s == _RETRY_FIRST_S:
                self._say(f"{trouble}; trying again")
            self.total.retries += 1
            time.sleep(asked_s or wait_s)
            wait_s = min(2 * wait_s, _RETRY_LONGEST_S)


def _retry_after_s(response: httpx.Response) -> float | None:
    """Seconds the server asks to wait; None when it does not say so in seconds."""
    given = response.headers.get("retry-after", "")
    return float(given) if given.isascii() and given.isdigit() and int(given) > 0 else None


def _said(response: httpx.Response) -> str:
    """The server's own words, short."""
    answer: Any = None
    if "json" in response.headers.get("content-type", ""):
        answer = msgspec.json.decode(response.content)
    detail = answer.get("detail", "") if isinstance(answer, dict) else response.text[:200]
    return f"{response.request.url} answered {response.status_code}: {detail}"
