"""Every method that trains networks runs as a cell, also in combinations of source and learner."""

from __future__ import annotations

import pytest

from crowdml.datasets import load_crowd, load_images
from crowdml.experiment.cell import Cell, cell_of
from crowdml.experiment.run_cell import run_cell
from crowdml.learning.recipe import Recipe
from crowdml.methods.registry import REGISTRY

RECIPE = Recipe(epochs=2, batch_size=32, lr=0.01, weight_decay=0.0)
TRAINING = [name for name, entry in REGISTRY.items() if entry.kind != "aggregator"]
COMBINED = ("glad+nnaqc", "em+jocor3", "mv+s_model", "labnet+nnaqc", "labnet_instance+gce", "crowdlab+forward")


def small_cell(method: str, **changes) -> Cell:
    settings = {
        "dataset": "digits", "pattern": "uniform", "noise_rate": 0.4, "n_workers": 3, "missing_rate": 0.0,
        "seed": 0, "network": "cnn_digits", "recipe": RECIPE, "n_train": 200, **changes,
    }  # fmt: skip
    return cell_of({"method": method, **settings})


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


@pytest.mark.parametrize("method", [*TRAINING, *COMBINED])
def test_a_method_runs_as_a_cell(method: str, digits) -> None:
    result = run_cell(small_cell(method), digits)
    assert result.test_accuracy is not None
    assert 0 <= result.test_accuracy <= 1
    assert result.confusion_error is not None
    assert result.n_trainings
    assert any(metric == "train_loss" for _, metric, _ in result.curves)
    assert len(result.workers) == 3


def test_the_target_can_be_the_posterior(digits) -> None:
    hard = run_cell(small_cell("em+nnaqc"), digits)
    soft = run_cell(small_cell("em+nnaqc", method_options={"target": "posterior"}), digits)
    assert hard.curves != soft.curves


@pytest.mark.parametrize(("dataset", "network"), [("labelme", "mlp128"), ("music", "mlp128_bn")])
def test_networks_learn_from_crowds_of_real_workers(dataset: str, network: str, data_root) -> None:
    recipe = Recipe(epochs=15, batch_size=64, lr=1e-3, weight_decay=0.0, optimizer="adam")
    real = {"pattern": "real", "noise_rate": None, "n_workers": None, "n_train": None, "network": network}
    data = load_crowd(dataset, data_root, for_networks=True)
    for method in ("em", "ccem"):
        result = run_cell(small_cell(method, dataset=dataset, recipe=recipe, **real), data)
        # The crowds have 8 and 10 classes; the published accuracies are near 0.8 and 0.65.
        assert result.test_accuracy is not None
        assert result.test_accuracy > 0.6
        assert result.confusion_error is not None
    with pytest.raises(ValueError, match="was loaded without its items"):
        run_cell(small_cell("em", dataset=dataset, recipe=recipe, **real), load_crowd(dataset, data_root))
