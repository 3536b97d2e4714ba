"""Other formats of events, turned into ours: one file a format, without I/O."""
