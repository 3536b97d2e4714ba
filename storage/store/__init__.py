"""The writer: tails the log into ClickHouse and keeps the serving state in Redis."""
