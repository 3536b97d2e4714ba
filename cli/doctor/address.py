"""The api: who reaches it, and whether it answers."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.error
import urllib.request

from cli.doctor.finding import TIMEOUT_S, Finding
from cli.settings import Settings

READ_BYTES = 16 * 1024


def check_exposure(settings: Settings) -> Finding:
    """Nobody outside reaches the api without a key."""
    loopback = settings.host in ("127.0.0.1", "::1", "localhost")
    seen = f"{settings.host}:{settings.port}, {'with' if settings.api_keys else 'without'} API keys"
    if loopback or settings.api_keys:
        return Finding("address", True, seen)
    return Finding("address", False, seen, "set PENSTOCK_API_KEYS=key:organisation, or PENSTOCK_HOST=127.0.0.1")


def _wrong(answer: bytes) -> str:
    """The parts that an answer of /readyz names as not well; anything else answers there without being ours."""
    try:
        parts = dict(json.loads(answer)["parts"])
    except (ValueError, KeyError, TypeError):
        return "what answers there is no api of ours, or one of another version"
    return "; ".join(f"{part} {said}" for part, said in parts.items() if said != "ok")[:500]


def check_api(settings: Settings) -> Finding:
    """The api runs, or its port is free."""
    from cli.up import api_url

    url = api_url(settings)
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=TIMEOUT_S) as answer:  # noqa: S310
            return Finding("api", True, f"{url} is ready ({answer.status})")
    except urllib.error.HTTPError as error:
        return Finding("api", False, f"{url} is not ready: {_wrong(error.read(READ_BYTES))}", "see the part it names")
    except (OSError, http.client.HTTPException):
        pass
    with socket.socket() as probe:
        probe.settimeout(TIMEOUT_S)
        taken = probe.connect_ex(("127.0.0.1", settings.port)) == 0
    if taken:
        return Finding("api", False, f"port {settings.port} is taken by another program", "set PENSTOCK_PORT")
    return Finding("api", True, f"not running; port {settings.port} is free")
