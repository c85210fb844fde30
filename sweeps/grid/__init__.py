"""Which cells a sweep computes: axes, presets, grid files, selections, and what of them is left."""
