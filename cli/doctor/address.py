"""The api: who reaches it, and whether it answers."""

from __future__ import annotations

import http.client
import json
import socket
import time
import urllib.error
import urllib.request
from typing import Final

from cli.address import api_url
from cli.doctor.finding import TIMEOUT_S, Finding
from cli.settings import Settings
from schemas.health import State

READ_BYTES: Final = 16 * 1024
SEEN_MAX: Final = 500
# Processes report within moments of their start; doctor's own bound on a check is longer.
START_S: Final = 8.0
# How the api begins what it says of a part without a report.
UNREPORTED: Final = "has not reported"
STRANGER: Final = "what answers there is no api of ours, or one of another version"


def check_exposure(settings: Settings) -> Finding:
    """Nobody outside reaches the api without a key."""
    loopback = settings.host in ("127.0.0.1", "::1", "localhost")
    seen = f"{settings.host}:{settings.port}, {'with' if settings.api_keys else 'without'} API keys"
    if loopback or settings.api_keys:
        return Finding("address", True, seen)
    return Finding("address", False, seen, "set PENSTOCK_API_KEYS=key:organisation, or PENSTOCK_HOST=127.0.0.1")


def check_api(settings: Settings, start_s: float = START_S) -> Finding:
    """The api runs, or its port is free. Parts that only have not reported yet get `start_s` to do so."""
    url = api_url(settings)
    deadline = time.monotonic() + start_s
    try:
        while (parts := _parts(url)) is not None and _only_start(parts) and time.monotonic() < deadline:
            time.sleep(0.2)
    except (OSError, http.client.HTTPException):
        return _unanswered(settings)
    if parts is None:
        return Finding("api", False, f"{url} is not ready: {STRANGER}", "set PENSTOCK_PORT")
    if not parts:
        return Finding("api", True, f"{url} is ready")
    seen = f"{url} is not ready: " + "; ".join(f"{part} {said}" for part, said in parts.items())[:SEEN_MAX]
    mend = "see the part it names"
    if any(said.startswith(UNREPORTED) for said in parts.values()):
        mend = "start it, or leave it out of PENSTOCK_READY_PARTS where none is wanted"
    return Finding("api", False, seen, mend)


def _parts(url: str) -> dict[str, str] | None:
    """The parts that /readyz names as not well; None where something else answers. Raises OSError, HTTPException."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=TIMEOUT_S):  # noqa: S310
            return {}
    except urllib.error.HTTPError as error:
        try:
            parts = dict(json.loads(error.read(READ_BYTES))["parts"])
        except (ValueError, KeyError, TypeError):
            return None
        return {part: str(said) for part, said in parts.items() if said != "ok"}


def _only_start(parts: dict[str, str]) -> bool:
    """What is wrong is about to be well, as after any start."""
    return bool(parts) and all(said.startswith((UNREPORTED, State.STARTING)) for said in parts.values())


def _unanswered(settings: Settings) -> Finding:
    with socket.socket() as probe:
        probe.settimeout(TIMEOUT_S)
        taken = probe.connect_ex(("127.0.0.1", settings.port)) == 0
    if taken:
        return Finding("api", False, f"port {settings.port} is taken by another program", "set PENSTOCK_PORT")
    return Finding("api", True, f"not running; port {settings.port} is free")
