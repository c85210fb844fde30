"""Minimax entropy aggregators: one EM, and one file per form of the logits."""
