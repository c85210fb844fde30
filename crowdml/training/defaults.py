"""Defaults of a training on a user's own items, without an import of torch."""

from __future__ import annotations

from crowdml.learning.recipe import Recipe

METHOD, NETWORK = "em", "mlp128"

RECIPE = Recipe(epochs=50, batch_size=64, lr=1e-3, weight_decay=1e-4, optimizer="adam")
"""Adam at its usual learning rate, because without tuning it is nearly the best on features and small images."""
