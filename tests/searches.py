"""Searches on the digits for tests, so small that a trial takes a fraction of a second or next to nothing."""

from __future__ import annotations

from typing import Any

from crowdml.learning.recipe import Recipe
from sweeps.tuning.search import Search, make_search
from tests.cells import cell


def of_network(method: str = "nnaqc", *, epochs: int = 6, **changes: Any) -> Search:
    """A search over a network's method, 300 digits and one worker unless told otherwise."""
    recipe = Recipe(epochs=epochs, batch_size=64, lr=0.05, weight_decay=2e-2, milestones=(epochs // 2,))
    made = cell(
        noise_rate=0.5, n_workers=changes.pop("n_workers", 1), method=method, network="cnn_digits", recipe=recipe,
        n_train=300,
    )  # fmt: skip
    return make_search(made, **{"seeds": [0], "objective": "clean_validation", **changes})


def of_labels(method: str = "em", *, n_workers: int = 5, **changes: Any) -> Search:
    """A search over an aggregator's options, 300 digits and five workers unless told otherwise."""
    made = cell(noise_rate=0.7, n_workers=n_workers, method=method, n_train=300)
    return make_search(made, **{"seeds": [0], "objective": "clean_validation", **changes})
