from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdml.experiment.columns import columns_of
from crowdml.experiment.result import CellResult
from crowdml.learning.recipe import Recipe
from sweeps.estimates.costs import CostModel, learn_costs
from sweeps.grid.grids import shorten
from sweeps.grid.presets import grid_cells
from sweeps.store.result_store import ResultStore
from sweeps.store.schema import AXES, MEASURES, TABLES
from tests.cells import PROVENANCE, cell, result

RECIPE = Recipe(epochs=10)
GPU, PROCESSOR = "NVIDIA H200", "AMD EPYC 9654 96-Core Processor"
TRAINED: dict[str, Any] = {"network": "cnn_digits", "recipe": RECIPE}


def rows(*results: CellResult) -> pd.DataFrame:
    """What a store would read of the results."""
    records = [{**{name: getattr(one, name) for name in MEASURES}, **columns_of(one.cell)} for one in results]
    return pa.Table.from_pylist(records, schema=pa.schema({**AXES, **MEASURES})).to_pandas()


def timed(seconds: float, *, device: str | None = None, speed: float | None = None, **changes: Any) -> CellResult:
    return replace(result(**changes), seconds=seconds, device=device, images_per_second=speed)


def test_measured_cells_beat_the_guess(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "r")
    store.create()
    store.write([result(seed=0), result(seed=1)], PROVENANCE)
    costs = learn_costs(store.read_cells(), gpu=False)
    assert costs.estimate(cell(seed=5, pattern="flip")) == (1.5, "measured")
    assert costs.estimate(cell(method="em")) == (CostModel().seconds(cell(method="em")), "constants")


def test_a_cell_of_a_real_crowd_is_known_again(tmp_path: Path) -> None:
    real = {"dataset": "bluebird", "pattern": "real", "noise_rate": None, "n_workers": None}
    store = ResultStore(tmp_path / "r")
    store.create()
    store.write([result(**real), result(seed=0)], PROVENANCE)
    costs = learn_costs(store.read_cells(), gpu=False)
    assert costs.seconds(cell(**real, missing_rate=0.5)) == costs.seconds(cell(seed=5)) == 1.5
    assert costs.seconds(cell(**{**real, "dataset": "web"})) == CostModel().seconds(cell(**{**real, "dataset": "web"}))


def test_the_median_of_like_cells_counts_and_failed_ones_do_not() -> None:
    failed = replace(timed(0.001, seed=4), status="failed")
    costs = learn_costs(rows(timed(1, seed=0), timed(3, seed=1), timed(50, seed=2), failed), gpu=False)
    assert costs.seconds(cell(seed=9)) == 3


def test_seconds_scale_with_epochs() -> None:
    costs = learn_costs(rows(timed(20, **TRAINED)), gpu=False)
    seconds, source = costs.estimate(cell(network="cnn_digits", recipe=shorten(RECIPE, 30)))
    assert source == "scaled"
    assert seconds == pytest.approx(60, rel=0.05)


def test_seconds_scale_with_items() -> None:
    costs = learn_costs(rows(timed(20, n_train=1000, **TRAINED)), gpu=False)
    seconds, source = costs.estimate(cell(n_train=250, **TRAINED))
    assert source == "scaled"
    assert seconds == pytest.approx(5, rel=0.1)


def test_seconds_scale_with_workers() -> None:
    known: dict[str, Any] = {"dataset": "cifar10_labels", "method": "em"}
    costs = learn_costs(rows(timed(4, n_workers=20, **known)), gpu=False)
    assert costs.estimate(cell(n_workers=60, **known)).seconds == pytest.approx(12, rel=0.05)


def test_the_known_cells_nearest_in_size_are_scaled() -> None:
    long, short = shorten(RECIPE, 100), shorten(RECIPE, 2)
    costs = learn_costs(
        rows(timed(1000, network="cnn_digits", recipe=long), timed(2, network="cnn_digits", recipe=short)), gpu=False
    )
    assert costs.seconds(cell(network="cnn_digits", recipe=shorten(RECIPE, 4))) == pytest.approx(4, rel=0.1)
    assert costs.seconds(cell(network="cnn_digits", recipe=shorten(RECIPE, 90))) == pytest.approx(900, rel=0.1)


@pytest.mark.parametrize(
    "other",
    [
        {"recipe": replace(RECIPE, batch_size=64)},
        {"network": "mlp256"},
        {"method": "em"},
        {"assignment": "balanced", "assignment_options": {"labels_per_item": 2}},
        {"dataset": "mnist"},
    ],
)
def test_cells_that_differ_in_more_than_size_are_not_scaled(other: dict[str, Any]) -> None:
    costs = learn_costs(rows(timed(20, **TRAINED)), gpu=False)
    assert costs.source(cell(**{**TRAINED, **other})) == "constants"


def test_cells_trained_on_the_other_kind_of_device_tell_nothing() -> None:
    known = rows(timed(20, device=PROCESSOR, speed=10, **TRAINED), timed(1, device=GPU, speed=900, **TRAINED))
    known = pd.concat([known, rows(timed(7, device=PROCESSOR))])
    assert learn_costs(known, gpu=False).seconds(cell(**TRAINED)) == 20
    assert learn_costs(known, gpu=True).seconds(cell(**TRAINED)) == 1
    assert learn_costs(known, gpu=True).seconds(cell()) == 7
    assert learn_costs(known, gpu=True).speeds == {("digits", "cnn_digits"): 900}


def test_a_known_speed_of_the_network_serves_other_methods() -> None:
    costs = learn_costs(rows(timed(20, speed=500, **TRAINED)), gpu=False)
    seconds, source = costs.estimate(cell(method="bootstrapping", **TRAINED))
    assert source == "scaled"
    assert seconds == pytest.approx(1297 * 10 / 500, rel=0.05)
    two = costs.seconds(cell(method="co_teaching", **TRAINED))
    assert two == pytest.approx(2 * 1297 * 10 / 500, rel=0.05)


def test_methods_of_several_networks_say_nothing_of_one() -> None:
    assert learn_costs(rows(timed(20, method="co_teaching", speed=500, **TRAINED)), gpu=False).speeds == {}


def test_a_probe_serves_where_no_similar_cell_is_known() -> None:
    probed = {("digits", "cnn_digits"): 1000.0}
    known = rows(timed(20, speed=500, **TRAINED))
    costs = replace(learn_costs(known, gpu=False), probed=probed)
    assert costs.estimate(cell(**TRAINED)) == (20, "measured")
    seconds, source = costs.estimate(cell(method="bootstrapping", **TRAINED))
    assert source == "probe"
    assert seconds == pytest.approx(1297 * 10 / 1000, rel=0.05)
    assert costs.source(cell()) == "constants"


def test_rows_of_another_crowdml_do_no_harm() -> None:
    known = rows(timed(20, **TRAINED), timed(3))
    strange = known.assign(
        dataset="no_such_data", recipe=known["recipe"].where(known["recipe"].isna(), '{"no_such_field": 1}')
    )
    costs = learn_costs(pd.concat([strange, known]), gpu=False)
    assert costs.seconds(cell(**TRAINED)) == 20
    assert costs.seconds(cell()) == 3


def test_no_results_teach_nothing() -> None:
    empty = TABLES["cells"].empty_table().to_pandas()
    assert learn_costs(empty, gpu=False) == CostModel()


@settings(max_examples=20)
@given(st.integers(1, 300), st.integers(1, 300), st.floats(0.01, 1e4))
def test_scaling_there_and_back_is_the_same(one: int, other: int, seconds: float) -> None:
    first, second = (cell(network="cnn_digits", recipe=shorten(RECIPE, epochs)) for epochs in (one, other))
    there = learn_costs(rows(replace(timed(seconds), cell=first)), gpu=False).seconds(second)
    back = learn_costs(rows(replace(timed(there), cell=second)), gpu=False).seconds(first)
    assert back == pytest.approx(seconds)


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


def test_thousands_of_estimates_take_no_time() -> None:
    """10,000 cells from 100,000 rows; once learnt, within half a second."""
    cells = grid_cells("paper", {"seeds": tuple(range(28))})
    assert len(cells) > 10_000
    known = rows(*(timed(20, **TRAINED, n_workers=n, seed=s) for n in range(1, 11) for s in range(10)))
    known = known.iloc[np.resize(np.arange(len(known)), 100_000)]
    start = time.process_time()
    costs = learn_costs(known, gpu=False)
    learnt = time.process_time()
    sources = Counter(costs.source(one) for one in cells)
    assert time.process_time() - learnt < 0.5
    assert learnt - start < 2
    assert sources == {"constants": len(cells)}
