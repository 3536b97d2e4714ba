"""Notices (win, billing, loss): signed so that nobody else can charge a campaign, the same however often they come.

Source: OpenRTB 2.6 section 4.4, substitution macros.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

import msgspec

# A billing notice that comes later than this after its bid is refused.
NOTICE_MS_MAX: Final = 3_600_000
# People click on what they were shown long after it was billed; beyond this a click is not counted any more.
CLICK_MS_MAX: Final = 86_400_000
_MAC_BYTES: Final = 16


class Ticket(msgspec.Struct, array_like=True):
    """What a notice must bring back; the bid's own words, so the bidder keeps nothing for bids that lose."""

    bid_id: str
    org_id: str
    campaign_id: str
    creative_id: str
    impression_id: str
    # CPM micros in the campaign's currency, and units of the response's currency for one of the campaign's.
    bid_micros: int
    exchange: float
    currency: str
    sent_ms: int
    placement_id: str | None = None
    publisher_id: str | None = None
    country: str | None = None
    device: str | None = None
    user_id: str | None = None
    at: int = 2


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Ticket)


def seal(ticket: Ticket, secret: bytes) -> str:
    """The ticket as URL text with its authentication code."""
    body = _encoder.encode(ticket)
    return base64.urlsafe_b64encode(_mac(body, secret) + body).rstrip(b"=").decode()


def unseal(text: str, secret: bytes, *, now_ms: int, within_ms: int | None = NOTICE_MS_MAX) -> Ticket | None:
    """The ticket; None when it was not ours, was changed, or is older than `within_ms` (None: however old).

    >>> t = Ticket("b", "o", "c", "cr", "1", 2_000_000, 1.0, "USD", 1_000)
    >>> unseal(seal(t, b"k"), b"k", now_ms=2_000) == t, unseal(seal(t, b"k"), b"other", now_ms=2_000)
    (True, None)
    """
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, _mac(body, secret)):
            return None
        ticket = _decoder.decode(body)
    except (ValueError, msgspec.DecodeError):
        return None
    return ticket if within_ms is None or now_ms - ticket.sent_ms <= within_ms else None


def notice_urls(base_url: str, sealed: str) -> tuple[str, str, str]:
    """(nurl, burl, lurl) with the standard's macros."""
    price = "price=${AUCTION_PRICE}&cur=${AUCTION_CURRENCY}"
    return (
        f"{base_url}/openrtb2/win?t={sealed}&{price}",
        f"{base_url}/openrtb2/billing?t={sealed}&{price}",
        f"{base_url}/openrtb2/loss?t={sealed}&reason=${{AUCTION_LOSS}}&mtw=${{AUCTION_MIN_TO_WIN}}",
    )


def click_url(base_url: str, sealed: str) -> str:
    """Counts the click and goes on to the landing page. Holds nothing that HTML, XML or JSON would have to escape."""
    return f"{base_url}/openrtb2/click?t={sealed}"


def charged_micros(ticket: Ticket, price: str | None) -> int:
    """What one impression costs in micros of the campaign's currency.

    The exchange's price is CPM in the response's currency; one that is absent, unreadable, not positive or above the
    bid is taken as the bid: an exchange never charges more than was bid.

    >>> t = Ticket("b", "o", "c", "cr", "1", 2_000_000, 1.0, "USD", 0)
    >>> charged_micros(t, "1.5"), charged_micros(t, "${AUCTION_PRICE}"), charged_micros(t, "9")
    (1500, 2000, 2000)
    """
    bid = ticket.bid_micros / 1_000
    try:
        told = float(price or "") * 1_000 / ticket.exchange
    except ValueError:
        told = bid
    return round(told if 0 < told <= bid else bid)


def _mac(body: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, body, hashlib.sha256).digest()[:_MAC_BYTES]
