"""chDB, the ClickHouse engine as a Python package, behind ClickHouse's own HTTP interface."""
