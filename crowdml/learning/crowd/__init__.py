"""Learners that train on all annotations of a crowd end to end: one short file per method."""
