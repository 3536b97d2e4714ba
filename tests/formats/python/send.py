"""Send with analytics-python: a page, a click, an order. Arguments: host, write key."""

from __future__ import annotations

import sys


def main(host: str, write_key: str) -> None:
    """Exits 1 when something was refused."""
    import segment.analytics as analytics

    analytics.host, analytics.write_key = host, write_key
    analytics.gzip = True
    analytics.max_retries = 0
    failed: list[object] = []
    analytics.on_error = lambda error, items: failed.append(error)
    analytics.identify("u-1", {"email": "a@example.org"})
    analytics.page("u-1", "shop", "home")
    analytics.track("u-1", "Ad Clicked", {"campaign_id": "shoes", "creative_id": "k-1"})
    order = {"order_id": "17", "revenue": 59.9}
    analytics.track("u-1", "Order Completed", order, context={"campaign": {"id": "shoes"}})
    analytics.shutdown()
    if failed:
        sys.exit(f"refused: {failed}")


if __name__ == "__main__":
    main(*sys.argv[1:])
