"""ClickHouse tables, writers and named queries; the chDB service; live state in Redis or memory."""
