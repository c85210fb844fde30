"""Learning: one training loop, one short file for each noise-aware method."""
