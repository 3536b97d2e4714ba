"""Metrics of the bidder."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

# Bids sent; with NO_BIDS the share of requests that we take part in.
BIDS = Counter("penstock_openrtb_bids", "Bids sent")
# Requests without a bid, by reason: `nothing_to_spend` says that budgets or pauses hold us back.
NO_BIDS = Counter("penstock_openrtb_no_bids", "Requests answered without a bid", ["reason"])
# Notices taken; wins far above billings mean ads that never render.
NOTICES = Counter("penstock_openrtb_notices", "Notices taken", ["notice"])
# Notices refused: forged, changed or too old.
NOTICES_REFUSED = Counter("penstock_openrtb_notices_refused", "Notices refused", ["notice"])
# Time to answer a bid request.
SECONDS = Histogram(
    "penstock_openrtb_seconds", "Time to answer a bid request",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1),
)  # fmt: skip
