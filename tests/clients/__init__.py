"""The clients that people have, against the chDB service."""
