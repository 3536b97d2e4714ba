"""Snapshots of a shard's state: their form and its versions, and the files that take only what changed."""
