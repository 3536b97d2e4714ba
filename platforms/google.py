"""Google Ads API, REST transcoding: `:mutate` with an update mask; money in micros.

Source: Google Ads API reference, services CampaignService, CampaignBudgetService, AdGroupService,
CampaignCriterionService; device criteria 30000 desktop, 30001 mobile, 30002 tablet; a country's criterion is
2000 + its ISO 3166 numeric code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from platforms.model import Applied, Change, Outcome, Rejected, Request, Response, Retry, Unsupported, seconds, text_at
from platforms.money import factor, whole_minor_micros
from schemas.decisions import Kind

API_VERSION: Final = "v21"
_DEVICES: Final = {"desktop": 30000, "mobile": 30001, "tablet": 30002}
_COUNTRIES: Final = {
    "AU": 36, "AT": 40, "BE": 56, "BR": 76, "CA": 124, "CN": 156, "DK": 208, "FI": 246, "FR": 250, "DE": 276,
    "IN": 356, "IE": 372, "IT": 380, "JP": 392, "MX": 484, "NL": 528, "NO": 578, "PL": 616, "PT": 620, "ES": 724,
    "SE": 752, "CH": 756, "GB": 826, "US": 840,
}  # fmt: skip
# Bid modifiers that Google takes; 0 would switch the segment off.
MODIFIER_MIN: Final = 0.1
MODIFIER_MAX: Final = 10.0
# A token that ran out is mended by a person while the change waits: a pause must not be lost for it.
_LATER: Final = frozenset(
    {"RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "ABORTED", "UNAUTHENTICATED"}
)


class GoogleAds:
    """Adapter of Google Ads."""

    platform = "google"
    base_url = "https://googleads.googleapis.com"
    requests_per_second = 5.0
    needs = frozenset({"access_token", "developer_token"})

    def make_requests(self, change: Change) -> list[Request] | Unsupported:
        link = change.link
        customer = f"customers/{link.account_id.replace('-', '')}"
        campaign = f"{customer}/campaigns/{link.campaign_ref}"
        match change.kind:
            case Kind.PAUSE | Kind.RESUME:
                status = "PAUSED" if change.paused else "ENABLED"
                return [self._mutate(customer, "campaigns", [(campaign, {"status": status})])]
            case Kind.SET_BUDGET:
                return self._budget(change, customer)
            case Kind.SET_BID:
                if link.ad_group_ref is None:
                    return Unsupported("a bid on Google Ads needs the link's ad_group_ref")
                group = f"{customer}/adGroups/{link.ad_group_ref}"
                return [self._mutate(customer, "adGroups", [(group, self._bid(change))])]
            case Kind.SET_BID_MODIFIERS:
                return self._modifiers(change, customer)
        return Unsupported(f"Google Ads has no {change.kind}")

    def read_response(self, response: Response) -> Outcome:
        request_id = response.headers.get("request-id")
        if response.status < 300:
            return Applied(request_id)
        status = text_at(response.body, "error", "status") or str(response.status)
        detail = text_at(response.body, "error", "details", 0, "errors", 0, "message")
        message = detail or text_at(response.body, "error", "message") or "no message"
        if status in _LATER or response.status in (429, 500, 502, 503, 504):
            return Retry(status, message, seconds(response.headers.get("retry-after")))
        return Rejected(status, message, request_id)

    def sign(self, method: str, url: str, credentials: Mapping[str, str]) -> Mapping[str, str]:
        headers = {
            "Authorization": f"Bearer {credentials['access_token']}",
            "developer-token": credentials["developer_token"],
        }
        if "login_customer_id" in credentials:
            headers["login-customer-id"] = credentials["login_customer_id"]
        return headers

    def _mutate(self, customer: str, service: str, updates: list[tuple[str, dict[str, Any]]]) -> Request:
        operations = [
            {"updateMask": ",".join(values), "update": {"resourceName": name, **values}} for name, values in updates
        ]
        return Request(
            "POST", f"{self.base_url}/{API_VERSION}/{customer}/{service}:mutate", body={"operations": operations}
        )

    def _budget(self, change: Change, customer: str) -> list[Request] | Unsupported:
        if change.link.budget_ref is None:
            return Unsupported("a budget on Google Ads needs the link's budget_ref")
        name = f"{customer}/campaignBudgets/{change.link.budget_ref}"
        if change.daily_budget_micros is not None:
            values = {"amountMicros": str(whole_minor_micros(change.daily_budget_micros, change.currency))}
        elif change.total_budget_micros is not None:
            values = {"totalAmountMicros": str(whole_minor_micros(change.total_budget_micros, change.currency))}
        else:
            return Unsupported("the decision names no daily or total budget")
        return [self._mutate(customer, "campaignBudgets", [(name, values)])]

    def _bid(self, change: Change) -> dict[str, Any]:
        if change.cpc_micros is not None:
            return {"cpcBidMicros": str(whole_minor_micros(change.cpc_micros, change.currency))}
        return {"cpmBidMicros": str(whole_minor_micros(change.bid_micros or 0, change.currency))}

    def _modifiers(self, change: Change, customer: str) -> list[Request] | Unsupported:
        updates: list[tuple[str, dict[str, Any]]] = []
        for segment, value in sorted((change.modifiers or {}).items()):
            dimension, _, member = segment.partition("=")
            criterion = _DEVICES.get(member) if dimension == "device" else None
            if dimension == "country" and member in _COUNTRIES:
                criterion = 2_000 + _COUNTRIES[member]
            if criterion is None:
                continue
            name = f"{customer}/campaignCriteria/{change.link.campaign_ref}~{criterion}"
            updates.append((name, {"bidModifier": factor(min(max(value, MODIFIER_MIN), MODIFIER_MAX))}))
        if not updates:
            return Unsupported("Google Ads takes bid modifiers by device and country; none of these is one")
        return [self._mutate(customer, "campaignCriteria", updates)]
