"""A seeded market to try strategies in: competitors, a daily rhythm, late conversions, latency. No clock."""
