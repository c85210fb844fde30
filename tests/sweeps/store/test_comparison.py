from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from crowdml.experiment.result import CellResult
from crowdml.learning.recipe import Recipe
from sweeps.store.comparison import compare
from sweeps.store.result_store import ResultStore
from tests.cells import PROVENANCE, result

TRAINED: dict[str, Any] = {"network": "cnn_digits", "recipe": Recipe(epochs=1)}


def cells(path: Path, results: list[CellResult], **provenance: Any) -> pd.DataFrame:
    store = ResultStore(path)
    store.create()
    store.write(results, replace(PROVENANCE, **provenance))
    return store.read_cells()


def test_a_folder_is_the_same_as_itself_computed_again(tmp_path: Path) -> None:
    results = [result(seed=1), result(seed=2, **TRAINED), result(seed=3, n_train=100)]
    again = [replace(item, seconds=99.0, seconds_learn=9.0, peak_memory_mb=1.0, error=None) for item in results]
    found = compare(cells(tmp_path / "a", results), cells(tmp_path / "b", again))
    assert found.same
    assert (found.n_both, found.n_other_version, len(found.provenance)) == (3, 0, 0)


def test_cells_that_only_one_has(tmp_path: Path) -> None:
    a = cells(tmp_path / "a", [result(seed=1), result(seed=2)])
    found = compare(a, cells(tmp_path / "b", [result(seed=2), result(seed=3, method="em")]))
    assert not found.same
    assert (found.only_a["seed"].tolist(), found.n_both) == ([1], 1)
    assert found.only_b[["seed", "method"]].to_numpy().tolist() == [[3, "em"]]


@pytest.mark.parametrize(
    ("changes", "shift", "tolerance", "same"),
    [
        ({}, 0.0, None, True),
        ({}, 1e-12, None, False),  # label-only errors are exact
        ({}, 1e-12, 1e-9, True),
        (TRAINED, 9e-7, None, True),
        (TRAINED, 1.1e-6, None, False),
        (TRAINED, 9e-7, 0.0, False),
    ],
)
def test_how_far_results_may_be_apart(
    tmp_path: Path, changes: dict[str, Any], shift: float, tolerance: float | None, same: bool
) -> None:
    made = result(**changes)
    moved = replace(made, aggregation_error=(made.aggregation_error or 0.0) + shift)
    found = compare(cells(tmp_path / "a", [made]), cells(tmp_path / "b", [moved]), tolerance=tolerance)
    assert found.same == same
    assert found.different["column"].tolist() == ([] if same else ["aggregation_error"])


def test_a_value_that_is_missing_on_one_side_differs(tmp_path: Path) -> None:
    made = result()
    b = replace(made, test_accuracy=0.5, status="failed", n_iter=3)
    found = compare(cells(tmp_path / "a", [made]), cells(tmp_path / "b", [b]))
    assert sorted(found.different["column"]) == ["n_iter", "status", "test_accuracy"]
    row = found.different.set_index("column")
    assert list(row.loc["status", ["a", "b"]]) == ["ok", "failed"]
    assert list(row.loc["test_accuracy", ["a", "b"]]) == ["-", "0.5"]


def test_cells_are_matched_across_versions_of_a_method(tmp_path: Path) -> None:
    a = cells(tmp_path / "a", [result()])
    found = compare(a, a.assign(cell_id="0" * 16))
    assert found.same
    assert (found.n_both, found.n_other_version) == (1, 1)


def test_numbers_that_are_missing_elsewhere_in_a_folder_match_all_the_same(tmp_path: Path) -> None:
    a = cells(tmp_path / "a", [result(n_train=100), result()])
    b = cells(tmp_path / "b", [result(n_train=100)])
    assert a["n_train"].dtype != b["n_train"].dtype
    found = compare(a, b)
    assert (found.n_both, len(found.only_a), len(found.only_b)) == (1, 1, 0)


def test_where_rows_come_from(tmp_path: Path) -> None:
    a = cells(tmp_path / "a", [result(seed=1), result(seed=2)], git_commit="one", versions={"numpy": "2", "ray": "3"})
    b = cells(tmp_path / "b", [result(seed=1)], versions={"numpy": "3", "ray": "3"}, fingerprints={"digits": "beef"})
    found = compare(a, b).provenance.set_index("what")
    assert list(found.loc["git_commit"]) == ["one (2 cells)", "abc (1 cells)"]
    assert list(found.loc["numpy version"]) == ["2 (2 cells)", "3 (1 cells)"]
    assert list(found.loc["data of digits"]) == ["f00d (2 cells)", "beef (1 cells)"]
    assert len(found) == 3


def test_empty_folders_are_the_same(tmp_path: Path) -> None:
    nothing = ResultStore(tmp_path / "none").read_cells()
    assert compare(nothing, nothing).same
    assert len(compare(nothing, cells(tmp_path / "b", [result()])).only_b) == 1
