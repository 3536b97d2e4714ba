"""Who asks: API keys, each for one organisation; or no keys, for this machine alone."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends
from starlette.requests import HTTPConnection

from api.problems import Problem
from schemas.events import DEFAULT_ORG

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Who a person says they are, beside the key that says who may.
USER_HEADER: Final = "x-penstock-user"
_USER_CHARACTERS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Caller:
    """An organisation and the name that an audit shows."""

    org_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """The keys that are valid, each with its organisation."""

    pairs: tuple[tuple[bytes, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> ApiKeys:
        """From comma-separated `key:organisation` pairs; raises ValueError that never shows a key.

        >>> ApiKeys.parse("k1:acme, k2:acme").pairs
        ((b'k1', 'acme'), (b'k2', 'acme'))
        """
        pairs = []
        for place, pair in enumerate((part.strip() for part in text.split(",") if part.strip()), start=1):
            key, colon, org_id = pair.rpartition(":")
            if not (colon and key and org_id):
                raise ValueError(f"PENSTOCK_API_KEYS: entry {place} is not key:organisation")
            pairs.append((key.encode(), org_id))
        return cls(tuple(pairs))

    def org_of(self, key: bytes) -> str | None:
        """The key's organisation; takes as long for a wrong key as for a right one."""
        found = None
        for known, org_id in self.pairs:
            if hmac.compare_digest(known, key):
                found = org_id
        return found

    def caller(self, connection: HTTPConnection, key_in_query: str | None = None) -> Caller:
        """Who asks; raises Problem 401 for a missing or wrong key, 403 for a foreign page on a keyless api."""
        if not self.pairs:
            must_be_local(connection)
            return Caller(DEFAULT_ORG, _user(connection) or "local")
        key = _key(connection) or key_in_query
        org_id = self.org_of(key.encode()) if key is not None else None
        if key is None or org_id is None:
            detail = "Send a valid key as `Authorization: Bearer KEY` or `X-API-Key: KEY`."
            raise Problem(401, "unauthorised", "A valid API key is needed", detail)
        fingerprint = f"key {hashlib.sha256(key.encode()).hexdigest()[:8]}"
        user = _user(connection)
        return Caller(org_id, f"{user} ({fingerprint})" if user else fingerprint)


def must_be_local(connection: HTTPConnection) -> None:
    """Keep web pages from elsewhere off an api without keys; raises Problem 403.

    A page on any site can make the browser of this machine's user call 127.0.0.1, under its own name by DNS
    rebinding (then Host is foreign) or across origins (then Origin is).
    """
    if connection.url.hostname not in LOOPBACK:
        detail = "Without API keys only localhost is served; set PENSTOCK_API_KEYS to be reached by another name."
        raise Problem(403, "foreign_host", "Not served under this host name", detail)
    origin = connection.headers.get("origin")
    reads = connection.scope["type"] == "http" and connection.scope["method"] in _READING
    if origin is not None and not reads and origin.split("://")[-1] != connection.headers.get("host"):
        raise Problem(
            403, "foreign_origin", "Not open to other sites", "Without API keys only its own pages may write."
        )


def _key(connection: HTTPConnection) -> str | None:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return connection.headers.get("x-api-key")


def _user(connection: HTTPConnection) -> str:
    given = connection.headers.get(USER_HEADER, "")
    return "".join(character for character in given if character.isprintable())[:_USER_CHARACTERS_MAX].strip()


async def _caller(connection: HTTPConnection) -> Caller:
    keys: ApiKeys = connection.app.state.wiring.keys
    return keys.caller(connection)


# What a route takes to know who asks.
CallerDep = Annotated[Caller, Depends(_caller)]
