"""Cells that share work give what they give alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crowdml import datasets
from crowdml.experiment.result import CellResult
from crowdml.experiment.run_cell import run_cell
from crowdml.experiment.shared_work import SharedWork
from crowdml.learning.recipe import Recipe
from crowdml.methods.registry import REGISTRY
from tests.cells import cell

SHORT = Recipe(epochs=2, batch_size=64, lr=0.02, weight_decay=0.0)
MEASURED = ("seconds", "seconds_simulate", "seconds_aggregate", "seconds_learn", "peak_memory_mb", "images_per_second")


def answer(result: CellResult) -> CellResult:
    """The result without what differs from run to run."""
    return replace(result, **dict.fromkeys(MEASURED))


@pytest.fixture(scope="module")
def digits() -> datasets.ImageData:
    return datasets.load_images("digits")


def test_every_learner_leaves_what_is_shared_as_it_was(digits: datasets.ImageData) -> None:
    """After all learners of single labels the first one gives the same again, and the same as alone."""
    learners = [name for name, entry in REGISTRY.items() if entry.kind == "learner"]
    assert len(learners) > 20
    shared = SharedWork()
    kept: dict[str, Any] = {"network": "mlp128", "recipe": SHORT, "n_train": 200}
    first = run_cell(cell(method="em", **kept), digits, shared=shared)
    for name in learners:
        run_cell(cell(method=f"em+{name}", **kept), digits, shared=shared)
    assert answer(run_cell(cell(method="em", **kept), digits, shared=shared)) == answer(first)
    assert answer(run_cell(cell(method="em", **kept), digits)) == answer(first)


def cells() -> Iterator[Any]:
    for seed in (0, 1):
        for n_train in (None, 300):
            for pattern in ("uniform", "bimodal"):
                for method, options in (("mv", {}), ("em", {}), ("em", {"max_iter": 2}), ("em_hard", {}), ("mv", {})):
                    yield cell(seed=seed, n_train=n_train, pattern=pattern, method=method, method_options=options)


def test_cells_of_several_crowds_in_any_order(digits: datasets.ImageData) -> None:
    todo = list(cells())
    alone = {each.id: answer(run_cell(each, digits)) for each in todo}
    rng, shared = np.random.default_rng(0), SharedWork()
    for place in rng.permutation(len(todo)):
        assert answer(run_cell(todo[place], digits, shared=shared)) == alone[todo[place].id]


def test_a_crowd_is_simulated_and_aggregated_once(digits: datasets.ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    from crowdml.aggregation import DawidSkene
    from crowdml.experiment import run_cell as experiment

    calls: list[str] = []
    simulate, fit = experiment.cell_crowd, DawidSkene.fit
    monkeypatch.setattr(experiment, "cell_crowd", lambda *a, **k: calls.append("crowd") or simulate(*a, **k))
    monkeypatch.setattr(DawidSkene, "fit", lambda *a, **k: calls.append("em") or fit(*a, **k))
    shared = SharedWork()
    for method in ("mv", "em", "em+nnaqc", "em+forward"):
        trains = {"network": "mlp128", "recipe": SHORT}
        run_cell(cell(method=method, n_train=200, **trains), digits, shared=shared)
    assert calls == ["crowd", "em"]
    run_cell(cell(method="em", n_workers=5, n_train=200), digits, shared=shared)
    assert calls == ["crowd", "em", "crowd", "em"]


def test_little_is_kept_and_what_cannot_be_a_key_is_made_anew() -> None:
    shared, made = SharedWork(), []

    def make() -> int:
        made.append(len(made))
        return made[-1]

    assert [shared.get("crowd", key, make) for key in "abab"] == [0, 1, 0, 1]
    assert [shared.get("crowd", key, make) for key in "cba"] == [2, 1, 3]
    unhashable: Any = ["a list"]
    assert [shared.get("crowd", unhashable, make) for _ in range(2)] == [4, 5]
