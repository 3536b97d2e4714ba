"""`penstock backup` and `penstock restore`: all that is embedded, copied while it runs, verified before use."""
