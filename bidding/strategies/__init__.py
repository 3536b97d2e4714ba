"""Bid strategies: a file each, and a line in `registry`."""
