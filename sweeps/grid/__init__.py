"""The cells of a sweep: axes, presets, grid files, selections, and the cells that are left to compute."""
