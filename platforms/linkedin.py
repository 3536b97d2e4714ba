"""LinkedIn Marketing API (Rest.li): partial updates of a campaign; money as decimal text with its currency.

Source: LinkedIn "Create and Manage Campaigns": `X-RestLi-Method: PARTIAL_UPDATE`, `patch.$set`, `dailyBudget`,
`totalBudget`, `unitCost`; least daily budget 10 units of USD, EUR or GBP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from platforms.model import Applied, Change, Outcome, Rejected, Request, Response, Retry, Unsupported, seconds, text_at
from platforms.money import MICROS, decimal_text
from schemas.decisions import Kind

API_VERSION: Final = "202601"
DAILY_BUDGET_MIN_MICROS: Final = 10 * MICROS


class LinkedIn:
    """Adapter of LinkedIn ads."""

    platform = "linkedin"
    base_url = "https://api.linkedin.com"
    requests_per_second = 1.0
    needs = frozenset({"access_token"})

    def make_requests(self, change: Change) -> list[Request] | Unsupported:
        match change.kind:
            case Kind.PAUSE | Kind.RESUME:
                return [self._patch(change, {"status": "PAUSED" if change.paused else "ACTIVE"})]
            case Kind.SET_BUDGET:
                return self._budget(change)
            case Kind.SET_BID:
                amount = change.cpc_micros if change.cpc_micros is not None else change.bid_micros
                return [self._patch(change, {"unitCost": _money(amount or 0, change.currency)})]
        return Unsupported(f"LinkedIn has no {change.kind}")

    def read_response(self, response: Response) -> Outcome:
        request_id = response.headers.get("x-li-uuid")
        if response.status < 300:
            return Applied(request_id)
        code = text_at(response.body, "serviceErrorCode") or text_at(response.body, "code") or str(response.status)
        message = text_at(response.body, "message") or "no message"
        if response.status in (401, 408, 429) or response.status >= 500:
            return Retry(code, message, seconds(response.headers.get("retry-after")))
        return Rejected(code, message, request_id)

    def sign(self, method: str, url: str, credentials: Mapping[str, str]) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {credentials['access_token']}"}

    def _patch(self, change: Change, values: dict[str, Any]) -> Request:
        link = change.link
        return Request(
            "POST",
            f"{self.base_url}/rest/adAccounts/{link.account_id}/adCampaigns/{link.campaign_ref}",
            headers={
                "X-RestLi-Method": "PARTIAL_UPDATE",
                "X-Restli-Protocol-Version": "2.0.0",
                "LinkedIn-Version": API_VERSION,
            },
            body={"patch": {"$set": values}},
        )

    def _budget(self, change: Change) -> list[Request] | Unsupported:
        if change.daily_budget_micros is not None:
            if change.daily_budget_micros < DAILY_BUDGET_MIN_MICROS:
                return Unsupported(f"LinkedIn's least daily budget is {DAILY_BUDGET_MIN_MICROS // MICROS}")
            return [self._patch(change, {"dailyBudget": _money(change.daily_budget_micros, change.currency)})]
        if change.total_budget_micros is not None:
            return [self._patch(change, {"totalBudget": _money(change.total_budget_micros, change.currency)})]
        return Unsupported("the decision names no daily or total budget")


def _money(micros: int, currency: str) -> dict[str, str]:
    return {"amount": decimal_text(micros, currency), "currencyCode": currency}
