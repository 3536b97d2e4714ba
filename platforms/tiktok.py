"""TikTok Business API v1.3: JSON posts; money as decimals of the account currency; HTTP 200 with its own code.

Source: TikTok API for Business reference; a bid counts only with `bid_type` BID_TYPE_CUSTOM; minimum daily budgets
50 units on a campaign and 20 on an ad group; codes 40100 and 40133 are rate limits, 5xxxx are temporary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from platforms.model import Applied, Change, Outcome, Rejected, Request, Response, Retry, Unsupported, text_at
from platforms.money import MICROS, decimal_text
from schemas.decisions import Kind

CAMPAIGN_BUDGET_MIN_MICROS: Final = 50 * MICROS
AD_GROUP_BUDGET_MIN_MICROS: Final = 20 * MICROS
_RATE_CODES: Final = frozenset({"40100", "40133"})
# A token that ran out: a person mends it while the change waits.
_TOKEN_CODES: Final = frozenset({"40104", "40105"})


class TikTok:
    """Adapter of TikTok ads."""

    platform = "tiktok"
    base_url = "https://business-api.tiktok.com"
    requests_per_second = 5.0
    needs = frozenset({"access_token"})

    def make_requests(self, change: Change) -> list[Request] | Unsupported:
        link = change.link
        match change.kind:
            case Kind.PAUSE | Kind.RESUME:
                status = "DISABLE" if change.paused else "ENABLE"
                body: dict[str, Any] = {"campaign_ids": [link.campaign_ref], "operation_status": status}
                return [self._post("campaign/status/update", change, body)]
            case Kind.SET_BUDGET:
                return self._budget(change)
            case Kind.SET_BID if link.ad_group_ref is not None:
                amount = change.cpc_micros if change.cpc_micros is not None else change.bid_micros
                bid = float(decimal_text(amount or 0, change.currency))
                body = {"adgroup_id": link.ad_group_ref, "bid_type": "BID_TYPE_CUSTOM", "bid_price": bid}
                return [self._post("adgroup/update", change, body)]
            case Kind.SET_BID:
                return Unsupported("a bid on TikTok needs the link's ad_group_ref")
        return Unsupported(f"TikTok has no {change.kind}")

    def read_response(self, response: Response) -> Outcome:
        request_id = text_at(response.body, "request_id")
        code = text_at(response.body, "code")
        message = text_at(response.body, "message") or "no message"
        if response.status < 300 and code == "0":
            return Applied(request_id)
        if code in _RATE_CODES | _TOKEN_CODES or response.status == 429:
            return Retry(code or "429", message)
        if response.status >= 500 or (code or "").startswith("5"):
            return Retry(code or str(response.status), message)
        return Rejected(code or str(response.status), message, request_id)

    def sign(self, method: str, url: str, credentials: Mapping[str, str]) -> Mapping[str, str]:
        return {"Access-Token": credentials["access_token"]}

    def _post(self, path: str, change: Change, body: dict[str, Any]) -> Request:
        whole = {"advertiser_id": change.link.account_id, **body}
        return Request("POST", f"{self.base_url}/open_api/v1.3/{path}/", body=whole)

    def _budget(self, change: Change) -> list[Request] | Unsupported:
        amount = change.daily_budget_micros if change.daily_budget_micros is not None else change.total_budget_micros
        if amount is None:
            return Unsupported("the decision names no daily or total budget")
        group = change.link.ad_group_ref
        least = CAMPAIGN_BUDGET_MIN_MICROS if group is None else AD_GROUP_BUDGET_MIN_MICROS
        if amount < least:
            return Unsupported(f"TikTok's least budget here is {least // MICROS} {change.currency}")
        budget = float(decimal_text(amount, change.currency))
        if group is None:
            return [self._post("campaign/update", change, {"campaign_id": change.link.campaign_ref, "budget": budget})]
        return [self._post("adgroup/budget/update", change, {"budget": [{"adgroup_id": group, "budget": budget}]})]
