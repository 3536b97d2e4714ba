"""A connection to ClickHouse: a server, or the chDB service, by the same code."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import clickhouse_connect

DATABASE: Final = "penstock"
CONNECT_TIMEOUT_S: Final = 5
ANSWER_TIMEOUT_S: Final = 60

# clickhouse_connect comes without types.
Client = Any


def service_url(port: int, password: str = "") -> str:
    """The URL of this machine's chDB service.

    >>> service_url(8123)
    'http://default@127.0.0.1:8123/penstock'
    """
    secret = f":{quote(password, safe='')}" if password else ""
    return f"http://default{secret}@127.0.0.1:{port}/{DATABASE}"


def database_of(url: str) -> str:
    """The database that a URL names, else `penstock`.

    >>> database_of("http://me:secret@host:8123/ads"), database_of("http://host:8123")
    ('ads', 'penstock')
    """
    return urlsplit(url).path.strip("/") or DATABASE


def connect(url: str, *, database: str | None = None, timeout_s: float = ANSWER_TIMEOUT_S) -> Client:
    """A client for `http(s)://user:password@host:port/database?setting=value`. Not for use by two threads at once.

    Raises clickhouse_connect's exceptions: OperationalError when nobody answers, DatabaseError when the server refuses.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    return clickhouse_connect.get_client(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or (8443 if secure else 8123),
        secure=secure,
        username=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        database=database if database is not None else database_of(url),
        settings=dict(parse_qsl(parts.query)),
        connect_timeout=CONNECT_TIMEOUT_S,
        send_receive_timeout=timeout_s,
        autogenerate_session_id=False,
        query_retries=0,
        # Loopback is faster than any compressor; elsewhere lz4.
        compress=parts.hostname not in ("127.0.0.1", "localhost", "::1"),
    )
