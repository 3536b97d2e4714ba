"""Answers bid requests and takes notices. Time, chance, state and prices come in as arguments of its making."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from api.openrtb import metrics
from api.openrtb.answers import Bid, BidResponse, NoBid, SeatBid, encode_response
from api.openrtb.auction import PER_MILLE, Candidate, Offer, Shade, circumstances, decide
from api.openrtb.fit import Fit
from api.openrtb.markup import filled
from api.openrtb.messages import BidRequest, decode_request
from api.openrtb.native import native_markup
from api.openrtb.notices import CLICK_MS_MAX, Ticket, charged_micros, click_url, notice_urls, seal, unseal
from api.openrtb.privacy import person_of
from api.openrtb.reservations import Reservations
from api.openrtb.roster import Roster
from api.openrtb.terms import rate
from api.openrtb.validity import fault
from api.serving import ServingReader
from schemas.identity import stable_id

# With less time than this an answer would come too late anyway.
TMAX_LEAST_MS: Final = 10
# Mark-up types of the standard.
_MTYPE: Final = {"banner": 1, "video": 2, "audio": 3, "native": 4}
# The longest that a request is thought about, whatever `tmax` says; less of it when there is less time.
THINKING_MS_MAX: Final = 50
# How long after the bid an impression may still be billed, in seconds, as `exp` tells the exchange.
EXPIRES_S: Final = 3_600


def unshaded(worth_micros: int, _campaign_id: str) -> int:
    """A first-price bid of the full worth."""
    return worth_micros


def always() -> bool:
    """State is complete."""
    return True


def never() -> bool:
    """The dataflow is there."""
    return False


@dataclass(slots=True)
class Bidder:
    """One organisation's view is chosen per request; everything else is shared."""

    roster: Roster
    serving: ServingReader
    now_ms: Callable[[], int]
    # Uniform numbers in [0, 1), for pacing.
    draw: Callable[[], float]
    secret: bytes
    base_url: str
    rates: Mapping[str, float] = field(default_factory=dict)
    shade: Shade = unshaded
    # Told of every known outcome in a first-price auction: campaign, bid and whether it won.
    learn: Callable[[str, int, bool], None] | None = None
    reservations: Reservations = field(default_factory=Reservations)
    # Whether all that the log holds was read: an old state could spend what is already spent.
    is_ready: Callable[[], bool] = always
    # Whether the dataflow is away: then nobody adds up what is spent, and what is left of a budget is not known.
    flow_is_away: Callable[[], bool] = never

    def answer(self, body: bytes, org_id: str) -> bytes | None:
        """The response to a request; None when the body is none at all (HTTP 400)."""
        arrived_ms = self.now_ms()
        try:
            request = decode_request(body)
        except (msgspec.DecodeError, RecursionError) as error:
            metrics.NO_BIDS.labels(NoBid.INVALID_REQUEST.name.lower()).inc()
            identifier = _id_of(body)
            return None if identifier is None else _no_bid(identifier, NoBid.INVALID_REQUEST, str(error))
        if (wrong := fault(request)) is not None:
            return self._refuse(request, NoBid.INVALID_REQUEST, wrong)
        # 0 and nothing are one: no limit was named.
        if request.tmax and request.tmax < TMAX_LEAST_MS:
            return self._refuse(request, NoBid.INSUFFICIENT_AUCTION_TIME)
        until_ms = arrived_ms + min(THINKING_MS_MAX, request.tmax // 2 if request.tmax else THINKING_MS_MAX)
        decided = decide(
            request, self._candidates(org_id), seat=org_id, rates=self.rates, now_ms=arrived_ms, draw=self.draw,
            shade=self.shade, out_of_time=lambda: self.now_ms() > until_ms,
        )  # fmt: skip
        if isinstance(decided, NoBid):
            return self._refuse(request, decided)
        if request.tmax and self.now_ms() - arrived_ms > request.tmax:
            return self._refuse(request, NoBid.INSUFFICIENT_AUCTION_TIME)
        bids = [self._bid(request, offer, org_id, arrived_ms) for offer in decided]
        metrics.BIDS.inc(len(bids))
        return encode_response(BidResponse(id=request.id, seatbid=[SeatBid(bids, org_id)], cur=decided[0].currency))

    def win(self, sealed: str, price: str | None) -> bool:
        """A win notice: reserve the price until it is billed. False: not one of our tickets."""
        now_ms = self.now_ms()
        ticket = unseal(sealed, self.secret, now_ms=now_ms)
        if ticket is None:
            return False
        metrics.NOTICES.labels("win").inc()
        campaign = (ticket.org_id, ticket.campaign_id)
        self.reservations.win(ticket.bid_id, campaign, charged_micros(ticket, price), now_ms)
        self._learn(ticket, won=True)
        return True

    def billing(self, sealed: str, price: str | None) -> tuple[str, dict[str, Any]] | None:
        """A billing notice: the organisation and the impression to book. The same notice gives the same event id."""
        now_ms = self.now_ms()
        ticket = unseal(sealed, self.secret, now_ms=now_ms)
        if ticket is None:
            return None
        metrics.NOTICES.labels("billing").inc()
        # The bid's own time: a notice sent again is the same event to the byte.
        event = self._event(ticket, "impression", f"rtb.{ticket.bid_id}", ticket.sent_ms)
        return ticket.org_id, event | {"cost_micros": charged_micros(ticket, price)}

    @staticmethod
    def _event(ticket: Ticket, kind: str, event_id: str, ts_ms: int) -> dict[str, Any]:
        event: dict[str, Any] = {
            "event_id": event_id,
            "type": kind,
            "ts": ts_ms,
            "campaign_id": ticket.campaign_id,
            "creative_id": ticket.creative_id,
            "platform": "openrtb",
            "placement_id": ticket.placement_id,
            "publisher_id": ticket.publisher_id,
            "country": ticket.country,
            "device": ticket.device,
            "user_id": ticket.user_id,
        }
        return {name: value for name, value in event.items() if value is not None}

    def click(self, sealed: str) -> tuple[str, str, dict[str, Any] | None] | None:
        """A click: the organisation, where to go on to, and the click to book; None: not one of our tickets.

        A bid's clicks are one event. One that comes later than CLICK_MS_MAX goes on and is not booked. The landing
        page is the creative's as it is defined now, so a ticket never leads anywhere else.
        """
        now_ms = self.now_ms()
        ticket = unseal(sealed, self.secret, now_ms=now_ms, within_ms=None)
        if ticket is None:
            return None
        campaign = self.roster.get(ticket.org_id, ticket.campaign_id)
        creative = (
            next((c for c in campaign.creatives if c.creative_id == ticket.creative_id), None) if campaign else None
        )
        if creative is None:
            return None
        landing = creative.landing_url or f"https://{creative.landing_domains[0]}/"
        if now_ms - ticket.sent_ms > CLICK_MS_MAX:
            return ticket.org_id, landing, None
        metrics.NOTICES.labels("click").inc()
        return ticket.org_id, landing, self._event(ticket, "click", f"rtbc.{ticket.bid_id}", now_ms)

    def booked(self, sealed: str) -> None:
        """The impression is durable: the ledger has it, the reservation goes."""
        now_ms = self.now_ms()
        if ticket := unseal(sealed, self.secret, now_ms=now_ms):
            self.reservations.close(ticket.bid_id, now_ms)

    def loss(self, sealed: str) -> bool:
        """A loss notice: what the bid held is free again."""
        now_ms = self.now_ms()
        ticket = unseal(sealed, self.secret, now_ms=now_ms)
        if ticket is None:
            return False
        metrics.NOTICES.labels("loss").inc()
        self.reservations.close(ticket.bid_id, now_ms)
        self._learn(ticket, won=False)
        return True

    def _learn(self, ticket: Ticket, *, won: bool) -> None:
        if self.learn is not None and ticket.at == 1:
            self.learn(ticket.campaign_id, ticket.bid_micros, won)

    def _candidates(self, org_id: str) -> list[Candidate]:
        found: list[Candidate] = []
        is_away = self.flow_is_away()
        for campaign in self.roster.campaigns(org_id) if self.is_ready() else ():
            state = self.serving.get(org_id, campaign.campaign_id)
            if state is None:
                continue
            left = state.spendable_micros
            if left is not None and is_away:
                continue
            if left is not None:
                left -= self.reservations.held_micros((org_id, campaign.campaign_id))
            found.append(Candidate(campaign, state, left))
        return found

    def _refuse(self, request: BidRequest, reason: NoBid, detail: str = "") -> bytes:
        metrics.NO_BIDS.labels(reason.name.lower()).inc()
        return _no_bid(request.id, reason, detail or reason.name.lower())

    def _bid(self, request: BidRequest, offer: Offer, org_id: str, now_ms: int) -> Bid:
        campaign, creative, impression_id = offer.campaign, offer.fit.creative, offer.impression.id
        seen = circumstances(request, offer.impression)
        bid_id = stable_id("bid", org_id, request.id, impression_id, campaign.campaign_id, now_ms)
        ticket = Ticket(
            bid_id=bid_id, org_id=org_id, campaign_id=campaign.campaign_id, creative_id=creative.creative_id,
            impression_id=impression_id, bid_micros=offer.bid_micros,
            exchange=rate(campaign.currency, offer.currency, self.rates) or 1.0, currency=offer.currency,
            sent_ms=now_ms, placement_id=seen.placement_id, publisher_id=seen.publisher_id, country=seen.country,
            device=seen.device, user_id=person_of(request), at=offer.at,
        )  # fmt: skip
        if not request.test:
            self.reservations.bid(bid_id, (org_id, campaign.campaign_id), offer.bid_micros // PER_MILLE, now_ms)
        sealed = seal(ticket, self.secret)
        nurl, burl, lurl = notice_urls(self.base_url, sealed)
        return Bid(
            id=bid_id, impid=impression_id, price=offer.price, nurl=nurl, burl=burl, lurl=lurl,
            adm=_markup(offer.fit, click_url(self.base_url, sealed)), adomain=creative.landing_domains,
            cid=campaign.campaign_id, crid=creative.creative_id, w=creative.width, h=creative.height,
            mtype=_MTYPE[creative.kind], exp=EXPIRES_S, cattax=creative.category_taxonomy, cat=creative.categories,
            attr=creative.attributes, apis=creative.apis, protocol=creative.protocol, dur=creative.duration_s,
            language=creative.language, dealid=offer.deal_id,
        )  # fmt: skip


def _markup(fit: Fit, click: str) -> str:
    if fit.assets is not None:
        return native_markup(fit.assets, click, rooted=fit.rooted)
    return filled(fit.creative.markup or "", click)


def _no_bid(request_id: str, reason: NoBid, detail: str) -> bytes:
    return encode_response(BidResponse(id=request_id, nbr=int(reason), ext={"reason": detail[:300]}))


def _id_of(body: bytes) -> str | None:
    """The request's id when that much of it can be read."""
    try:
        loaded = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    identifier = loaded.get("id") if isinstance(loaded, dict) else None
    return str(identifier) if isinstance(identifier, str | int) and not isinstance(identifier, bool) else None
