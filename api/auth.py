"""Who asks: API keys, each for one organisation; or no keys, for this machine alone."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends
from starlette.requests import HTTPConnection

from api.problems import Problem
from api.write_keys import NO_WRITE_KEYS, WriteKeys, WriteScope, page_of
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
class Sender:
    """Who sends events: an organisation, which campaigns it may name, and whether it may say what they cost."""

    org_id: str
    money: bool = True
    # None: every campaign.
    scope: WriteScope | None = None


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """The keys that are valid, each with its organisation."""

    pairs: tuple[tuple[bytes, str], ...] = ()
    writers: WriteKeys = NO_WRITE_KEYS

    @classmethod
    def parse(cls, text: str, writers: WriteKeys = NO_WRITE_KEYS) -> ApiKeys:
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
        if writers.pairs and not pairs:
            raise ValueError("PENSTOCK_WRITE_KEYS needs PENSTOCK_API_KEYS: without them no key is asked for")
        full = {key for key, _ in pairs}
        if any(key in full for key, _ in writers.pairs):
            raise ValueError("PENSTOCK_WRITE_KEYS: one of the keys is in PENSTOCK_API_KEYS, too; make another")
        return cls(tuple(pairs), writers)

    @property
    def organisations(self) -> frozenset[str]:
        """Everybody who has a key."""
        return frozenset(org_id for _, org_id in self.pairs) | {scope.organisation for _, scope in self.writers.pairs}

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
        key = bearer_of(connection) or key_in_query
        org_id = self.org_of(key.encode()) if key is not None else None
        if key is not None and self.writers.scope_of(key.encode()) is not None:
            raise Problem(403, "write_only_key", "A write-only key", "This key may send events and nothing else.")
        if key is None or org_id is None:
            raise _unauthorised()
        fingerprint = f"key {hashlib.sha256(key.encode()).hexdigest()[:8]}"
        user = _user(connection)
        return Caller(org_id, f"{user} ({fingerprint})" if user else fingerprint)

    def sender(
        self, connection: HTTPConnection, key_in_query: str | None = None, key_in_header: str | None = None
    ) -> Sender:
        """Who sends events, by the key in the usual headers or in `key_in_header`, which a format has for it.

        Raises Problem 401 for a missing or wrong key, 403 for one that must not be used so.

        A full key in an address or in a page of another site is refused: whoever reads the page could change budgets.
        """
        if not self.pairs:
            must_be_local(connection)
            return Sender(DEFAULT_ORG, money=not is_browser(connection))
        in_header = bearer_of(connection) or key_in_header
        key = in_header or key_in_query
        scope = self.writers.scope_of(key.encode()) if key is not None else None
        if scope is not None:
            if not scope.takes_page(page_of(connection)):
                detail = "This key is bound to the pages of other hosts."
                raise Problem(403, "foreign_page", "Not from this page", detail)
            return Sender(scope.organisation, scope.costs, scope)
        org_id = self.org_of(key.encode()) if key is not None else None
        if org_id is None:
            raise _unauthorised()
        if in_header is None or _is_of_another_site(connection):
            detail = "This key can change budgets and must not stand in a page; use one of PENSTOCK_WRITE_KEYS."
            raise Problem(403, "full_key_in_page", "A full key in a page", detail)
        return Sender(org_id)


def _unauthorised() -> Problem:
    detail = "Send a valid key as `Authorization: Bearer KEY` or `X-API-Key: KEY`."
    return Problem(401, "unauthorised", "A valid API key is needed", detail)


def is_browser(connection: HTTPConnection) -> bool:
    """Does the request bear the marks of a browser that is not at a page of our own?

    The address bar counts as one, as a link in a mail opens so. Browsers that send no Sec-Fetch-Site (before 2023) are
    known by their name.
    """
    headers = connection.headers
    fetched_from = headers.get("sec-fetch-site")
    if fetched_from is not None:
        return fetched_from != "same-origin"
    return _is_of_another_site(connection) or headers.get("user-agent", "").startswith("Mozilla/")


def _is_of_another_site(connection: HTTPConnection) -> bool:
    headers = connection.headers
    if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return True
    own = headers.get("host", "")
    pages = (headers.get("origin"), headers.get("referer"))
    return any(page is not None and page.partition("://")[2].partition("/")[0] != own for page in pages)


def must_be_local(connection: HTTPConnection) -> None:
    """Keep web pages from elsewhere off an api without keys; raises Problem 403.

    A page on any site can make the browser of this machine's user call 127.0.0.1, under its own name by DNS
    rebinding (then Host is foreign) or across origins (then Origin is).
    """
    must_be_at_home(connection)
    origin = connection.headers.get("origin")
    reads = connection.scope["type"] == "http" and connection.scope["method"] in _READING
    site = connection.headers.get("sec-fetch-site")
    is_foreign = origin is not None and origin.split("://")[-1] != connection.headers.get("host")
    if not reads and (is_foreign or site in ("cross-site", "same-site")):
        raise Problem(
            403, "foreign_origin", "Not open to other sites", "Without API keys only its own pages may write."
        )


def must_be_at_home(connection: HTTPConnection) -> None:
    """Refuse every name but localhost's; raises Problem 403."""
    if connection.url.hostname not in LOOPBACK:
        detail = "Without API keys only localhost is served; set PENSTOCK_API_KEYS to be reached by another name."
        raise Problem(403, "foreign_host", "Not served under this host name", detail)


def bearer_of(connection: HTTPConnection) -> str | None:
    """The key in the request's headers."""
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


async def _sender(connection: HTTPConnection) -> Sender:
    keys: ApiKeys = connection.app.state.wiring.keys
    # A beacon cannot set headers, so that a write-only key may stand in the address.
    return keys.sender(connection, connection.query_params.get("key"))


# What a route takes to know who asks.
CallerDep = Annotated[Caller, Depends(_caller)]
# The same for routes that take events and nothing else.
SenderDep = Annotated[Sender, Depends(_sender)]
