"""Meta Marketing API (Graph): form posts on campaign and ad set; money in minor units of the currency.

Source: Marketing API reference, Ad Campaign and Ad Set; error codes 4, 17, 32, 613 and 80000-80014 are rate limits,
1 and 2 are temporary; `X-Business-Use-Case-Usage` says in minutes when access comes back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from platforms.model import Applied, Change, Outcome, Rejected, Request, Response, Retry, Unsupported, text_at
from platforms.money import minor_units
from schemas.decisions import Kind

API_VERSION: Final = "v24.0"
_RATE_CODES: Final = frozenset({"4", "17", "32", "613", *(str(code) for code in range(80_000, 80_015))})
# 190 is a token that ran out: a person mends it while the change waits.
_LATER_CODES: Final = frozenset({"1", "2", "190"})


class Meta:
    """Adapter of Facebook and Instagram ads."""

    platform = "facebook"
    base_url = "https://graph.facebook.com"
    requests_per_second = 2.0
    needs = frozenset({"access_token"})

    def make_requests(self, change: Change) -> list[Request] | Unsupported:
        link = change.link
        # The bid, and the budget unless it is a campaign budget, belong to the ad set.
        ad_set = link.ad_group_ref
        match change.kind:
            case Kind.PAUSE | Kind.RESUME:
                return [self._post(link.campaign_ref, {"status": "PAUSED" if change.paused else "ACTIVE"})]
            case Kind.SET_BUDGET:
                return self._budget(change, ad_set or link.campaign_ref)
            case Kind.SET_BID if ad_set is not None:
                amount = change.cpc_micros if change.cpc_micros is not None else change.bid_micros
                return [self._post(ad_set, {"bid_amount": str(minor_units(amount or 0, change.currency))})]
            case Kind.SET_BID:
                return Unsupported("a bid on Meta needs the link's ad_group_ref (the ad set)")
        return Unsupported(f"Meta has no {change.kind}")

    def read_response(self, response: Response) -> Outcome:
        trace = text_at(response.body, "error", "fbtrace_id") or response.headers.get("x-fb-trace-id")
        code = text_at(response.body, "error", "code")
        if code is None and response.status < 300:
            return Applied(trace)
        message = (
            text_at(response.body, "error", "error_user_msg")
            or text_at(response.body, "error", "message")
            or "no message"
        )
        if code in _RATE_CODES or response.status == 429:
            return Retry(code or "429", message, _regain_s(response.headers.get("x-business-use-case-usage")))
        if code in _LATER_CODES or response.status >= 500:
            return Retry(code or str(response.status), message)
        return Rejected(code or str(response.status), message, trace)

    def sign(self, method: str, url: str, credentials: Mapping[str, str]) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {credentials['access_token']}"}

    def _post(self, node: str, form: dict[str, str]) -> Request:
        return Request("POST", f"{self.base_url}/{API_VERSION}/{node}", form=form)

    def _budget(self, change: Change, node: str) -> list[Request] | Unsupported:
        if change.daily_budget_micros is not None:
            amount = minor_units(change.daily_budget_micros, change.currency)
            return [self._post(node, {"daily_budget": str(amount)})]
        if change.total_budget_micros is not None:
            amount = minor_units(change.total_budget_micros, change.currency)
            return [self._post(node, {"lifetime_budget": str(amount)})]
        return Unsupported("the decision names no daily or total budget")


def _regain_s(usage: str | None) -> float | None:
    """Seconds until access comes back, from the usage header.

    >>> _regain_s('{"1": [{"type": "ads_management", "estimated_time_to_regain_access": 3}]}')
    180.0
    """
    if usage is None:
        return None
    try:
        rows = [row for account in json.loads(usage).values() for row in account]
        return 60.0 * max(float(row.get("estimated_time_to_regain_access", 0)) for row in rows)
    except (ValueError, AttributeError, TypeError):
        return None
