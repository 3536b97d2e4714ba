"""Our own bidder: OpenRTB 2.6 over HTTP. Spend is reserved on win and booked on billing."""
