"""Figures by commit; nothing imports this."""
