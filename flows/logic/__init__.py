"""What the dataflow decides, without Bytewax: dedupe, KPIs, reach, budgets. Pure."""
