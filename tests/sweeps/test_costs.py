from __future__ import annotations

from pathlib import Path

from crowdml.learning.recipe import Recipe
from sweeps.costs import CostModel, learn_costs
from sweeps.store import ResultStore
from tests.cells import PROVENANCE, cell, result

RECIPE = Recipe(epochs=10)


def test_measured_cells_beat_the_guess(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "r")
    store.create()
    store.write([result(seed=0), result(seed=1)], PROVENANCE)
    costs = learn_costs(store.read_cells(), gpu=False)
    assert costs.seconds(cell(seed=5, pattern="flip")) == 1.5
    assert costs.seconds(cell(n_workers=9)) == CostModel().seconds(cell(n_workers=9))


def test_a_cell_of_a_real_crowd_is_known_again(tmp_path: Path) -> None:
    real = {"dataset": "bluebird", "pattern": "real", "noise_rate": None, "n_workers": None}
    store = ResultStore(tmp_path / "r")
    store.create()
    store.write([result(**real), result(seed=0)], PROVENANCE)
    costs = learn_costs(store.read_cells(), gpu=False)
    assert costs.seconds(cell(**real, missing_rate=0.5)) == costs.seconds(cell(seed=5)) == 1.5
    assert costs.seconds(cell(**{**real, "dataset": "web"})) == CostModel().seconds(cell(**{**real, "dataset": "web"}))


def test_fewer_labels_an_item_cost_less() -> None:
    seconds = CostModel().seconds
    sparse = {"assignment": "balanced", "assignment_options": {"labels_per_item": 3}}
    assert seconds(cell(n_workers=3)) == seconds(cell(n_workers=90, **sparse)) < seconds(cell(n_workers=90))


def test_the_guess_grows_with_the_work() -> None:
    seconds = CostModel().seconds
    assert seconds(cell(n_workers=9)) > seconds(cell())
    assert seconds(cell(method="em")) > seconds(cell())
    trained = cell(network="cnn_digits", recipe=RECIPE)
    assert seconds(trained) > seconds(cell())
    assert seconds(cell(method="labnet", network="cnn_digits", recipe=RECIPE)) > seconds(trained)
    assert CostModel(gpu=True).seconds(trained) < seconds(trained)
