"""Real traffic again: readers of recorded files, as events; nothing here sends anything."""
