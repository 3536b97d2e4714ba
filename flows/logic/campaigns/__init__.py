"""Campaigns of a shard: which events are new, who they are of, and all that is kept of each campaign."""
