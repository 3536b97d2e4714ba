"""Who may do what: `default` everything, `analyst` reading."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from storage.service.errors import AUTHENTICATION_FAILED, refused


@dataclass(frozen=True, slots=True)
class User:
    """A name and its password; an empty password asks for none."""

    name: str
    password: str = ""
    reads_only: bool = False
    # Whose rows alone an analyst sees; None: all.
    organisation: str | None = None
    # Why nobody gets in by this name; empty: somebody may.
    closed: str = ""


def _basic(header: str) -> tuple[str, str] | None:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return name, password


def authenticated(users: Mapping[str, User], headers: Mapping[str, str], query: Mapping[str, str]) -> User:
    """The user of a request, from X-ClickHouse-User and -Key, basic authentication, or `user` and `password` in the
    URL; nobody named is `default`. Raises ServiceError 516."""
    if "x-clickhouse-user" in headers:
        given = headers["x-clickhouse-user"], headers.get("x-clickhouse-key", "")
    else:
        given = _basic(headers.get("authorization", "")) or (
            query.get("user", "default"),
            query.get("password", ""),
        )
    user = users.get(given[0] or "default")
    if user is None or not hmac.compare_digest(user.password.encode(), given[1].encode()):
        detail = f"{given[0]}: Authentication failed: password is incorrect, or there is no user with such name."
        raise refused(AUTHENTICATION_FAILED, detail)
    if user.closed:
        raise refused(AUTHENTICATION_FAILED, f"{user.name}: {user.closed}")
    return user
