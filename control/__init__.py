"""Campaigns, overrides and their history in SQL, published to topic control through an outbox."""
