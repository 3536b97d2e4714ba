"""Ad platforms: adapters that do no HTTP (make requests, read responses) and the host that sends for them."""
