"""What a shard says: KPI windows, live rows, serving state."""
