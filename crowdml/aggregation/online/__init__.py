"""Aggregators for annotations that keep arriving."""
