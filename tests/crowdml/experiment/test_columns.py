from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.experiment.axes import CellError
from crowdml.experiment.cell import COLUMNS, Cell, cell_from, cell_of
from crowdml.experiment.columns import columns_of, id_of
from crowdml.learning.recipe import Recipe
from tests.cells import cell

ROOT = Path(__file__).parents[3]

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.text("ab"),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=4,
)
OPTIONS = st.dictionaries(st.text("abc", min_size=1, max_size=3), VALUES, max_size=3)
SHARES = st.floats(0, 1, exclude_max=True)
RULES = st.sampled_from(["floor", "round", "bernoulli"])
RECIPES = st.builds(
    Recipe,
    epochs=st.integers(5, 9),
    lr=st.floats(0.01, 1),
    milestones=st.lists(st.integers(1, 4), max_size=2).map(tuple),
)
ALL = {"method": st.sampled_from(["mv", "em", "glad"]), "method_options": OPTIONS, "seed": st.integers(0, 2**40)}
ASKED = st.sampled_from([
    {"assignment": "every_item"},
    {"assignment": "balanced", "assignment_options": {"labels_per_item": 1}},
    {"assignment": "power_law", "assignment_options": {"labels_per_item": 1, "exponent": 2.5}},
])  # fmt: skip
SIZES = {"n_workers": st.integers(1, 99), "missing_rate": SHARES, "missing": RULES}
IMAGES = {"dataset": st.just("digits"), "n_train": st.none() | st.integers(1, 1297)}
TRAINED = st.just({}) | st.fixed_dictionaries({"network": st.just("cnn_digits"), "recipe": RECIPES})
SIMULATED = st.fixed_dictionaries({
    **ALL, **IMAGES, **SIZES, "noise_rate": SHARES, "pattern_options": OPTIONS,
    "pattern": st.sampled_from(["uniform", "bimodal", "flip"]),
    "worker_model": st.sampled_from(["homogeneous", "random"]),
})  # fmt: skip
MACHINES = st.fixed_dictionaries({
    **ALL, **IMAGES, **SIZES, "pattern": st.just("machine_annotators"),
    "pattern_options": st.sampled_from([{}, {"expert_images": 9}]),
})  # fmt: skip
REAL = st.fixed_dictionaries({
    **ALL, **SIZES, "n_workers": st.none() | st.integers(1, 9), "dataset": st.just("bluebird"),
    "pattern": st.just("real"),
})  # fmt: skip


def merged(*parts: dict) -> dict:
    return {name: value for part in parts for name, value in part.items()}


@given(st.builds(merged, SIMULATED | MACHINES, ASKED, TRAINED) | REAL)
def test_a_row_gives_back_its_cell(values: dict) -> None:
    made = cell_of(values)
    row = columns_of(made)
    assert cell_from(row) == made
    assert cell_from({name: math.nan if value is None else value for name, value in row.items()}) == made
    assert list(row) == list(COLUMNS)
    assert cell_from(row).id == made.id


def test_each_field_is_one_column() -> None:
    assert list(COLUMNS) == [
        "dataset", "n_train", "network", "recipe", "pattern", "noise_rate", "pattern_options", "worker_model",
        "worker_options", "assignment", "assignment_options", "n_workers", "missing_rate", "missing", "method",
        "method_options", "seed",
    ]  # fmt: skip
    assert all(column.axis.help for column in COLUMNS.values())


def test_a_column_that_a_cell_does_not_have_is_empty() -> None:
    real = columns_of(cell(dataset="bluebird", pattern="real", noise_rate=None, n_workers=None))
    assert {name for name, value in real.items() if value is None} == {
        "n_train", "network", "recipe", "noise_rate", "pattern_options", "worker_model", "worker_options", "assignment",
        "assignment_options", "n_workers",
    }  # fmt: skip


def test_a_value_at_its_default_is_not_part_of_the_id() -> None:
    row = columns_of(cell())
    assert id_of(Cell, {**row, "worker_model": None, "pattern_options": None, "missing": None}, "1+1") == cell().id
    trained = columns_of(cell(network="cnn_digits", recipe=Recipe(epochs=7)))
    assert id_of(Cell, {**trained, "recipe": '{"epochs": 7}'}, "1+1") == id_of(Cell, trained, "1+1")
    assert id_of(Cell, {**trained, "recipe": '{"epochs": 8}'}, "1+1") != id_of(Cell, trained, "1+1")


def test_equal_recipes_have_one_id() -> None:
    whole, broken = Recipe(lr=1, late_momentum=0), Recipe(lr=1.0, late_momentum=0.0)
    assert whole == broken
    assert cell(network="cnn_digits", recipe=whole).id == cell(network="cnn_digits", recipe=broken).id
    assert isinstance(whole.to_dict()["lr"], float)


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"method_options": "not json"}, "method_options", "must be options as JSON"),
        ({"network": "cnn_digits", "recipe": '{"epoch": 3}'}, "recipe", "must be a recipe as JSON"),
        ({"n_workers": "3"}, "n_workers", "must be a whole number"),
    ],
)
def test_a_row_that_is_not_a_cell_is_refused(changes: dict, field: str, message: str) -> None:
    with pytest.raises(CellError, match=message) as caught:
        cell_from({**columns_of(cell()), **changes})
    assert caught.value.field == field


LABEL_BUDGET = """    label_budget: int | None = axis(Kind.WHOLE, "labels to pay for", default=None, at_least=1)
"""
USE_OF_LABEL_BUDGET = """
import sys
from pathlib import Path
from analysis.load import PANEL_AXES, load, panels
from crowdml.experiment.cell import COLUMNS, cell_from
from crowdml.experiment.columns import columns_of
from sweeps.grid.grids import Block, axis_options, with_axes
from sweeps.grid.selection import order, select
from sweeps.store.result_store import ResultStore
from tests.analysis.frames import ok
from tests.cells import PROVENANCE, cell

old_id, old_seed, old_folder, new_folder = sys.argv[1:]
plain, paid = cell(), cell(label_budget=50)
assert (plain.id, plain.crowd_seed) == (old_id, int(old_seed)), "no existing id or crowd changes"
assert paid.id != plain.id and paid.crowd_seed != plain.crowd_seed
assert columns_of(paid)["label_budget"] == 50 and cell_from(columns_of(paid)) == paid
try:
    cell(label_budget=0)
except ValueError as error:
    assert str(error) == "label_budget must be at least 1, got 0"
else:
    raise AssertionError("a value out of range is refused")
assert select([plain, paid], "label_budget > 9") == [paid]
assert order([plain, paid], ["label_budget"]) == [1, 0]
assert "label_budget" in PANEL_AXES
assert axis_options()["label_budget"].axis.help == "labels to pay for"
block = with_axes(Block(datasets=("digits",), methods=("mv",), train=False), {"label_budget": [50, None]})
assert {made.crowd.label_budget for made in block.cells()} == {50, None}
assert ResultStore(old_folder).status() == {plain.id: "ok"}, "older files are read with the default"
store = ResultStore(new_folder)
store.create()
store.write([ok(0.1), ok(0.2, label_budget=50)], PROVENANCE)
assert [title for title, _ in panels(load(new_folder))][0].endswith("label budget 50")
"""


def test_a_new_axis_is_one_line(tmp_path: Path) -> None:
    """Add a field to a copy of the package, and find it in columns, ids, filters, grids, files and tables."""
    from sweeps.store.result_store import ResultStore
    from tests.cells import PROVENANCE, result

    store = ResultStore(tmp_path / "old")
    store.create()
    store.write([result()], PROVENANCE)
    for folder in ("crowdml", "sweeps", "analysis", "tests/analysis"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("tests/__init__.py", "tests/cells.py"):
        shutil.copy(ROOT / file, tmp_path / file)
    source = tmp_path / "crowdml/experiment/crowd_types.py"
    text = source.read_text()
    place = text.index("    n_workers: int = axis(")
    source.write_text(text[:place] + LABEL_BUDGET + text[place:])
    arguments = [cell().id, str(cell().crowd_seed), str(tmp_path / "old"), str(tmp_path / "new")]
    done = subprocess.run(
        [sys.executable, "-c", USE_OF_LABEL_BUDGET, *arguments],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
