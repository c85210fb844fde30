"""Compute cells: shards of them as Ray Tune trials, or one cell after the other in this process."""
