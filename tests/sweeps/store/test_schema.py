from __future__ import annotations

from dataclasses import replace

import pytest

from crowdml import methods
from crowdml.experiment.cell import Cell, cell_from
from crowdml.experiment.columns import columns_of, id_of
from crowdml.experiment.result import failed
from sweeps.grid.presets import PRESETS
from sweeps.store.schema import to_tables
from tests.cells import PROVENANCE, cell, result


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_row_gives_its_cell_and_its_id(preset: str) -> None:
    for made in PRESETS[preset].cells()[::7]:
        row = _as_stored(made)
        assert cell_from(row) == made
        assert id_of(Cell, row, methods.version(made.method, labels_only=made.network is None)) == made.id
        assert id_of(Cell, row, "99+99") != made.id


@pytest.mark.parametrize(
    "changes",
    [
        {"worker_model": "hammer_spammer", "worker_options": {"hammers": 0.3}},
        {"assignment": "balanced", "assignment_options": {"labels_per_item": 2}},
        {"method": "em", "method_options": {"max_iter": 10, "init": "majority"}},
        {"noise_rate": 0},
    ],
)
def test_so_it_is_with_options(changes: dict[str, object]) -> None:
    made = cell(**changes)
    assert id_of(Cell, _as_stored(made), methods.version(made.method, labels_only=True)) == made.id


def test_every_axis_counts() -> None:
    row = columns_of(cell())
    ids = {id_of(Cell, {**row, name: _other(value)}, "1+1") for name, value in row.items()}
    assert len(ids) == len(row)
    assert id_of(Cell, row, "1+1") not in ids


def test_options_that_are_no_json_are_an_error() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        id_of(Cell, {**columns_of(cell()), "method_options": "not json"}, "1+1")


def test_results_without_points_have_no_rows_of_them() -> None:
    tables = to_tables([replace(result(), curves=()), result(seed=1)], ["a", "b"], PROVENANCE)
    assert tables["curves"]["attempt"].to_pylist() == ["b", "b"]
    bare = to_tables([replace(result(), curves=(), workers=())], ["a"], PROVENANCE)
    assert (bare["curves"].num_rows, bare["workers"].num_rows) == (0, 0)


def _as_stored(made: Cell) -> dict[str, object]:
    (row,) = to_tables([failed(made, "Traceback: oh")], ["a"], PROVENANCE)["cells"].to_pylist()
    return row


def _other(value: object) -> object:
    if isinstance(value, str):
        return '{"x": 1}' if value.startswith("{") else value + "x"
    if value is None:
        return '{"epochs": 1}'
    return value + 1 if isinstance(value, (int, float)) else value
