"""Write-only keys: what stands in a page, a mail or an app, where everybody can read it."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from starlette.requests import HTTPConnection

# Long enough that nobody guesses it: 16 characters of an alphabet of 36 are 83 bits.
KEY_CHARACTERS_MIN: Final = 16


class WriteScope(BaseModel):
    """What the holder of a write-only key may send: events, of these campaigns, from pages of these hosts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    organisation: Annotated[str, StringConstraints(min_length=1)]
    # Ids, or prefixes that end in `*`; empty: every campaign of the organisation.
    campaigns: tuple[str, ...] = ()
    # Hosts of pages; `.example.com` also takes its subdomains; empty: from anywhere, mails and apps too.
    hosts: tuple[str, ...] = ()
    # Whoever reads the page can send any cost, and costs spend budgets.
    costs: bool = False

    def takes_campaign(self, campaign_id: str) -> bool:
        """May the key send events of this campaign?

        >>> scope = WriteScope(organisation="acme", campaigns=("shoes", "summer-*"))
        >>> [scope.takes_campaign(name) for name in ("shoes", "shoes2", "summer-7", "")]
        [True, False, True, False]
        """
        return not self.campaigns or any(
            campaign_id.startswith(named[:-1]) if named.endswith("*") else campaign_id == named
            for named in self.campaigns
        )

    def takes_page(self, page: str | None) -> bool:
        """May the key be used by a page at this address, or at this origin?

        >>> scope = WriteScope(organisation="acme", hosts=("shop.example", ".example.org"))
        >>> [scope.takes_page(f"https://{host}/p") for host in ("shop.example", "a.example.org", "shop.example.evil")]
        [True, True, False]
        """
        if not self.hosts:
            return True
        host = host_of(page)
        return host is not None and any(
            host == named.lstrip(".") or (named.startswith(".") and host.endswith(named))
            for named in map(str.lower, self.hosts)
        )


_file = TypeAdapter(dict[Annotated[str, Field(min_length=KEY_CHARACTERS_MIN)], WriteScope])


@dataclass(frozen=True, slots=True)
class WriteKeys:
    """The write-only keys that are valid."""

    pairs: tuple[tuple[bytes, WriteScope], ...] = ()

    @classmethod
    def load(cls, file: Path | None) -> Self:
        """From a JSON file of keys and what each may do; raises ValueError that never shows a key."""
        if file is None:
            return cls()
        try:
            given = _file.validate_json(file.read_bytes())
        except OSError as error:
            raise ValueError(f"PENSTOCK_WRITE_KEYS: {file}: {error.strerror}") from None
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            # The first part of the place is the key itself.
            place = ".".join(str(part) for part in first["loc"][1:] if part != "[key]") or "a key"
            raise ValueError(f"PENSTOCK_WRITE_KEYS: {file}: {place}: {first['msg']}") from None
        return cls(tuple((key.encode(), scope) for key, scope in given.items()))

    def scope_of(self, key: bytes) -> WriteScope | None:
        """What the key may do; takes as long for a wrong key as for a right one."""
        found = None
        for known, scope in self.pairs:
            if hmac.compare_digest(known, key):
                found = scope
        return found


NO_WRITE_KEYS: Final = WriteKeys()


def page_of(connection: HTTPConnection) -> str | None:
    """The page that a request says it comes from: its origin, or its address where no origin is sent."""
    headers = connection.headers
    origin = headers.get("origin")
    return origin if origin not in (None, "null") else headers.get("referer")


def host_of(page: str | None) -> str | None:
    """The host of a page's address, in lower case; None when there is none."""
    try:
        return urlsplit(page or "").hostname
    except ValueError:
        return None
