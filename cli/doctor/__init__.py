"""`penstock doctor`: one module a topic; `checks.CHECKS` lists what is examined, in the order of the table."""
