"""Aggregate a crowd that is larger than the memory of one machine."""
