"""Aggregation of a crowd that is larger than one machine."""
