"""Hyper-parameter search: the search, the objective, the study that several drivers share, and the report."""
