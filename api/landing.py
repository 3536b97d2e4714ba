"""Where a click may be sent on to: allowed hosts only, so that nobody can use the tracker as an open redirect."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_URL_CHARACTERS_MAX: Final = 2_048
# Browsers drop or rewrite these, each in its own way, and then go elsewhere than a parser thinks.
_TRICKS: Final = re.compile(r"[\x00-\x20\x7f\\]|[^\x00-\x7f]")
_HOST: Final = re.compile(r"\.?[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class LandingHosts:
    """Exact hosts, and suffixes that stand for every host below a domain."""

    exact: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> LandingHosts:
        """From comma-separated hosts; `.example.com` takes example.com and everything below it.

        Raises ValueError for an entry that is not a host.

        >>> LandingHosts.parse("shop.example, .example.com").allow("https://www.example.com/x?y=1")
        True
        """
        entries = [part.strip().lower() for part in text.split(",") if part.strip()]
        for entry in entries:
            if _HOST.fullmatch(entry) is None:
                raise ValueError(
                    f"PENSTOCK_LANDING_HOSTS: {entry!r} is not a host such as shop.example or .example.com"
                )
        suffixes = tuple(entry for entry in entries if entry.startswith("."))
        exact = {entry for entry in entries if not entry.startswith(".")}
        return cls(frozenset(exact | {suffix[1:] for suffix in suffixes}), suffixes)

    def allow(self, url: str) -> bool:
        """Is this an http or https address at an allowed host, without user name, in plain ASCII?"""
        if len(url) > _URL_CHARACTERS_MAX or _TRICKS.search(url):
            return False
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            return False
        if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
            return False
        # `http:/x` and `http:x` have no host for a parser, but one for a browser.
        if not url.lower().startswith(f"{parts.scheme}://{parts.netloc.lower()}"):
            return False
        return host in self.exact or host.endswith(self.suffixes)
