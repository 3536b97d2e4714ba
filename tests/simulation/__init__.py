"""Whole histories of Penstock in one thread, from one seed, with faults; each is compared with plain counting."""
