"""Windows: state in arrays, aggregation of events, reach, and what is reported when."""
