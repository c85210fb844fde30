from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.load import load
from analysis.statistics import compare_all, compare_pair
from analysis.tables import ACCURACY, ERROR
from tests.analysis.frames import folder, ok, two_methods


def test_pairs_by_hand(tmp_path: Path) -> None:
    cells = load(two_methods(tmp_path / "r"))
    found = compare_pair(cells, "mv", "em", ERROR)
    assert found is not None
    assert (found.n_pairs, found.wins, found.ties, found.losses) == (6, 3, 0, 3)
    assert found.difference == pytest.approx(0)
    assert found.low == pytest.approx(-found.high, abs=1.5)
    assert found.low < 0 < found.high
    better = compare_pair(cells, "em", "mv", ACCURACY)
    assert better is not None
    assert better.difference == pytest.approx(5)
    assert better.wins == 6
    assert better.p_value == pytest.approx(stats.wilcoxon(np.full(6, 5.0)).pvalue)


def test_only_cells_that_both_have_are_compared(tmp_path: Path) -> None:
    results = [ok(0.1, method="mv", seed=0), ok(0.2, method="em", seed=0), ok(0.9, method="mv", seed=1)]
    cells = load(folder(tmp_path / "r", results))
    found = compare_pair(cells, "mv", "em", ERROR)
    assert found is not None
    assert found.n_pairs == 1
    assert found.difference == pytest.approx(-10)
    assert compare_pair(cells, "mv", "labnet", ERROR) is None
    assert len(compare_all(cells, ERROR)) == 1


def test_equal_methods_have_no_p_value(tmp_path: Path) -> None:
    cells = load(folder(tmp_path / "r", [ok(0.1, method="mv"), ok(0.1, method="em")]))
    found = compare_pair(cells, "mv", "em", ERROR)
    assert found is not None
    assert np.isnan(found.p_value)
    assert found.ties == 1
