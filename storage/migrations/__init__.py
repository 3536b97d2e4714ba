"""Numbered SQL files that make and change the tables; `storage.schema` applies them."""
