"""The bidder in the OpenAPI document: its routes are plain Starlette ones, which FastAPI does not see."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from api.openrtb.answers import BidResponse
from api.openrtb.messages import BidRequest

# Names such as Format and User are too common for a document of everything.
_PREFIX: Final = "OpenRtb"
_REF: Final = "#/components/schemas/" + _PREFIX + "{name}"
_JSON: Final = "application/json"
_TICKET: Final[dict[str, Any]] = {
    "name": "t", "in": "query", "required": True, "schema": {"type": "string"},
    "description": "The signed ticket of a bid, as it stands in the bid's addresses.",
}  # fmt: skip
_PRICE: Final[dict[str, Any]] = {
    "name": "price", "in": "query", "schema": {"type": "string"},
    "description": "${AUCTION_PRICE}, CPM in the response's currency; absent, unreadable or above the bid: the bid.",
}  # fmt: skip
_NOTICES: Final[dict[str, tuple[str, list[dict[str, Any]]]]] = {
    "win": ("The bid won: its price is reserved.", [_TICKET, _PRICE]),
    "billing": ("The impression is billable: it is booked, once however often this comes.", [_TICKET, _PRICE]),
    "loss": ("The bid lost: what it held is free again.", [_TICKET]),
}


def describe(document: dict[str, Any]) -> None:
    """Put the bidder's addresses and messages into an OpenAPI document."""
    _, schemas = msgspec.json.schema_components([BidRequest, BidResponse], ref_template=_REF)
    document["components"]["schemas"].update({_PREFIX + name: schema for name, schema in schemas.items()})
    paths = document["paths"]
    paths["/openrtb2/bid"] = {"post": _bid()}
    for name, (summary, parameters) in _NOTICES.items():
        paths[f"/openrtb2/{name}"] = {
            "get": _operation(f"openrtb_{name}", summary, {"204": {"description": "Taken."}}, parameters)
        }
    landing = {"302": {"description": "To the creative's landing page."}}
    counted = "A click on a shown ad: it is counted, once a bid, and the person goes on to the landing page."
    paths["/openrtb2/click"] = {"get": _operation("openrtb_click", counted, landing, [_TICKET])}


def _bid() -> dict[str, Any]:
    answers = {
        "200": {
            "description": "Bids, or a no-bid with its reason in `nbr` and, in words, in `ext.reason`.",
            "content": {_JSON: {"schema": {"$ref": _REF.format(name="BidResponse")}}},
        },
        "400": {"description": "No request at all: not JSON, or without an id."},
        "413": {"description": "The body is too large."},
    }
    return {
        "operationId": "openrtb_bid",
        "tags": ["openrtb"],
        "summary": "Bid on the impressions of an OpenRTB 2.6 request.",
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": {"$ref": _REF.format(name="BidRequest")}}},
        },
        "responses": answers,
        "security": [{}, {"bearer": []}, {"key": []}],
    }


def _operation(name: str, summary: str, responses: dict[str, Any], parameters: list[dict[str, Any]]) -> dict[str, Any]:
    refused = {"403": {"description": "Not a ticket of ours, changed, or too old."}}
    return {
        "operationId": name, "tags": ["openrtb"], "summary": summary, "parameters": parameters,
        "responses": responses | refused, "security": [{}],
    }  # fmt: skip
