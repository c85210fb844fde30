"""Hyper-parameter search: what is searched, the objective, a study that several drivers share, and its report."""
