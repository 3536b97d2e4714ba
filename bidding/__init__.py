"""Value models, bid strategies, pacing, explanations. Pure: usable from a notebook with nothing running."""
