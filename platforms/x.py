"""X Ads API v12: PUT with query parameters; money in local micros; each request signed with OAuth 1.0a.

Source: X Ads API reference, campaigns and line_items; `x-rate-limit-reset` and `x-account-rate-limit-reset` are
seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from oauthlib.oauth1 import Client as OAuth1

from platforms.model import Applied, Change, Outcome, Rejected, Request, Response, Retry, Unsupported, seconds, text_at
from platforms.money import whole_minor_micros
from schemas.decisions import Kind

API_VERSION: Final = "12"


class X:
    """Adapter of X (Twitter) ads."""

    platform = "twitter"
    base_url = "https://ads-api.x.com"
    requests_per_second = 1.0
    needs = frozenset({"consumer_key", "consumer_secret", "access_token", "access_token_secret"})

    def make_requests(self, change: Change) -> list[Request] | Unsupported:
        link = change.link
        campaign = f"campaigns/{link.campaign_ref}"
        match change.kind:
            case Kind.PAUSE | Kind.RESUME:
                return [self._put(change, campaign, {"entity_status": "PAUSED" if change.paused else "ACTIVE"})]
            case Kind.SET_BUDGET if change.daily_budget_micros is not None:
                amount = whole_minor_micros(change.daily_budget_micros, change.currency)
                return [self._put(change, campaign, {"daily_budget_amount_local_micro": str(amount)})]
            case Kind.SET_BUDGET if change.total_budget_micros is not None:
                amount = whole_minor_micros(change.total_budget_micros, change.currency)
                return [self._put(change, campaign, {"total_budget_amount_local_micro": str(amount)})]
            case Kind.SET_BUDGET:
                return Unsupported("the decision names no daily or total budget")
            case Kind.SET_BID if link.ad_group_ref is not None:
                bid = change.cpc_micros if change.cpc_micros is not None else change.bid_micros
                amount = whole_minor_micros(bid or 0, change.currency)
                return [self._put(change, f"line_items/{link.ad_group_ref}", {"bid_amount_local_micro": str(amount)})]
            case Kind.SET_BID:
                return Unsupported("a bid on X needs the link's ad_group_ref (the line item)")
        return Unsupported(f"X has no {change.kind} here")

    def read_response(self, response: Response) -> Outcome:
        request_id = response.headers.get("x-transaction-id")
        if response.status < 300:
            return Applied(request_id)
        code = text_at(response.body, "errors", 0, "code") or str(response.status)
        message = text_at(response.body, "errors", 0, "message") or "no message"
        if response.status in (401, 429) or response.status >= 500:
            return Retry(code, message, self._wait_s(response))
        return Rejected(code, message, request_id)

    def sign(self, method: str, url: str, credentials: Mapping[str, str]) -> Mapping[str, str]:
        signer = OAuth1(
            credentials["consumer_key"],
            client_secret=credentials["consumer_secret"],
            resource_owner_key=credentials["access_token"],
            resource_owner_secret=credentials["access_token_secret"],
        )
        _, headers, _ = signer.sign(url, http_method="PUT" if method == "PUT" else "POST")
        return {str(name): str(value) for name, value in headers.items()}

    def _put(self, change: Change, path: str, query: dict[str, str]) -> Request:
        url = f"{self.base_url}/{API_VERSION}/accounts/{change.link.account_id}/{path}"
        return Request("PUT", url, query=query)

    def _wait_s(self, response: Response) -> float | None:
        account, user = "x-account-rate-limit-reset", "x-rate-limit-reset"
        reset = seconds(response.headers.get(account) or response.headers.get(user))
        if reset is None:
            return seconds(response.headers.get("retry-after"))
        return max(0.0, reset - response.received_ms / 1_000)
