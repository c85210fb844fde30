"""Values of any type in any field: a cell, or a CellError that names the field."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crowdml.experiment.axes import CellError
from crowdml.experiment.cell import COLUMNS, Cell, Training, cell_from, cell_of
from crowdml.experiment.columns import columns_of
from crowdml.experiment.crowd_types import MachineAnnotators, Real, Simulated
from crowdml.experiment.shared_work import SharedWork
from crowdml.learning.recipe import Recipe
from tests.cells import DEFAULTS, cell

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(max_size=2)
    | st.complex_numbers() | st.decimals() | st.fractions()
    | st.sampled_from([
        10**400, 2**63, 2**64, 1e308, -0.0, float("inf"), float("nan"), Decimal("NaN"), Fraction(1, 3),
        np.int8(3), np.uint64(2**64 - 1), np.float32(0.6), np.bool_(True), np.array(3), np.array([1, 2]), np.array([]),
        np.str_("mv"), object(), object, len, Recipe(), "real", "machine_annotators", "uniform", "mv", "em+base", ":",
        "a:b", "..:x", ".", "os:path", "math:pi", "", "\x00", "\udcff", "a\nb", "digits", "labelme", "cnn_digits",
        "every_item", "power_law", {1}, frozenset({1}), range(3), memoryview(b"a"),
    ])
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        | st.lists(st.tuples(st.sampled_from(["a", "max_iter", "labels_per_item"]), inner), max_size=3)
    ),
    max_leaves=6,
)
BASES = (
    DEFAULTS,
    {**DEFAULTS, "network": "cnn_digits", "recipe": Recipe()},
    {"dataset": "labelme", "pattern": "real", "method": "mv", "seed": 0},
    {"dataset": "digits", "pattern": "machine_annotators", "n_workers": 3, "method": "mv", "seed": 0},
)


def attempt(make: Callable[[], Any]) -> Any:
    """What `make` returns, or the text of its CellError."""
    try:
        return make()
    except CellError as error:
        return str(error)


def check(made: Cell) -> None:
    """A cell has an id and a hash, and its row gives the same cell."""
    again = cell_from(columns_of(made))
    assert (again, again.id, again.crowd_seed, hash(again)) == (made, made.id, made.crowd_seed, hash(made))
    assert pickle.loads(pickle.dumps(made)) == made


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(BASES), st.sampled_from(list(COLUMNS)), VALUES)
@example(BASES[0], "network", "")
@example(BASES[0], "pattern", ["uniform"])
@example(BASES[0], "worker_options", [[1]])
@example(BASES[0], "method_options", [("a", 1), ("a", 2)])
@example(BASES[0], "method_options", {"a": {"b": 1}})
@example(BASES[0], "seed", float("inf"))
@example(BASES[0], "noise_rate", 10**400)
@example(BASES[2], "noise_rate", np.array([1, 2]))
def test_any_value_of_a_column_gives_a_cell_or_a_cell_error(base: Mapping[str, Any], column: str, value: Any) -> None:
    made = attempt(lambda: cell_of({**base, column: value}))
    if isinstance(made, Cell):
        check(made)


FIELDS = {
    Cell: {"dataset": "digits", "crowd": Simulated(pattern="uniform", noise_rate=0.5, n_workers=3), "method": "mv",
           "seed": 0, "n_train": None, "training": None, "method_options": ()},
    Training: {"network": "cnn_digits", "recipe": Recipe()},
    Simulated: {"pattern": "uniform", "noise_rate": 0.5, "n_workers": 3, "pattern_options": (), "worker_options": (),
                "worker_model": "homogeneous", "assignment": "every_item", "assignment_options": (), "missing": "floor",
                "missing_rate": 0.0},
    MachineAnnotators: {"n_workers": 3, "pattern_options": (), "assignment": "every_item", "missing": "floor"},
    Real: {"n_workers": 3, "missing_rate": 0.0, "missing": "floor"},
}  # fmt: skip
PLACES = [(kind, name) for kind, fields in FIELDS.items() for name in fields]


@settings(max_examples=1000, deadline=None)
@given(st.sampled_from(PLACES), VALUES)
@example((Cell, "crowd"), "uniform")
@example((Cell, "training"), "cnn_digits")
def test_any_value_of_a_field_gives_an_object_or_a_cell_error(place: tuple[type, str], value: Any) -> None:
    kind, name = place
    hash(attempt(lambda: kind(**{**FIELDS[kind], name: value})))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"noise_rate": 0.0}, {"noise_rate": -0.0}),
        ({"noise_rate": 0}, {"noise_rate": np.float64(0)}),
        ({"seed": 1}, {"seed": 1.0}),
        ({"method": "em", "method_options": {"max_iter": 5}}, {"method": "em", "method_options": {"max_iter": 5.0}}),
        ({"worker_model": "hammer_spammer", "worker_options": {"hammers": 1}},
         {"worker_model": "hammer_spammer", "worker_options": {"hammers": np.float32(1)}}),
        ({"pattern_options": {"spread": 0.0}, "pattern": "item_difficulty"},
         {"pattern_options": {"spread": -0.0}, "pattern": "item_difficulty"}),
        ({"pattern": "bimodal", "pattern_options": {"centres": [3, 7]}},
         {"pattern": "bimodal", "pattern_options": {"centres": (3.0, 7.0)}}),
    ],
)  # fmt: skip
def test_equal_cells_have_equal_ids_and_crowds(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = cell(**one), cell(**other)
    assert first == second
    assert (first.id, first.crowd_seed, first.crowd_key) == (second.id, second.crowd_seed, second.crowd_key)


def test_cells_with_other_crowd_seeds_share_no_crowd() -> None:
    shared = SharedWork()
    cells = [cell(pattern_options=options) for options in ({"include_true": True}, {"include_true": 1})]
    made = [shared.get("crowd", each.crowd_key, lambda each=each: each.crowd_seed) for each in cells]
    assert made == [each.crowd_seed for each in cells]


@pytest.mark.parametrize("seed", [2**63, 2**64, 10**400, 10**5000], ids=["63", "64", "400", "5000"])
def test_a_seed_fits_into_a_column(seed: int) -> None:
    with pytest.raises(CellError, match="seed must be at most 9223372036854775807"):
        cell(seed=seed)
    assert copy.deepcopy(cell(seed=2**63 - 1)).seed == 2**63 - 1
