"""Train networks on noisy labels: one training loop, and one short file per noise-aware method."""
