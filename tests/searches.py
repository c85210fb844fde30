"""Small searches on the digits for tests; a trial takes a fraction of a second."""

from __future__ import annotations

from typing import Any

from crowdml.learning.recipe import Recipe
from sweeps.tuning.search import Search, make_search
from tests.cells import cell


def of_network(method: str = "nnaqc", *, epochs: int = 6, **changes: Any) -> Search:
    """Return a search over a method with a network, by default on 300 digits with one worker."""
    recipe = Recipe(epochs=epochs, batch_size=64, lr=0.05, weight_decay=2e-2, milestones=(epochs // 2,))
    made = cell(
        noise_rate=0.5, n_workers=changes.pop("n_workers", 1), method=method, network="cnn_digits", recipe=recipe,
        n_train=300,
    )  # fmt: skip
    return make_search(made, **{"seeds": [0], "objective": "clean_validation", **changes})


def of_labels(method: str = "em", *, n_workers: int = 5, **changes: Any) -> Search:
    """Return a search over an aggregator's options, by default on 300 digits with five workers."""
    made = cell(noise_rate=0.7, n_workers=n_workers, method=method, n_train=300)
    return make_search(made, **{"seeds": [0], "objective": "clean_validation", **changes})
