"""The label-only columns of LABNET's Tables 1 and 2, at full size, through the command."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.load import load
from analysis.published.aggregation_tables import compare
from crowdml.cli.main import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Ours beside the paper's, in percent, the mean of three seeds."""
    results = tmp_path_factory.mktemp("labels") / "r"
    grid = ["--preset", "labels", "--workers", "3", "9"]
    assert main(["sweep", *grid, "--backend", "inline", "--results", str(results)]) == 0
    return compare(load(results))


def test_every_published_cell_is_there(comparison: pd.DataFrame) -> None:
    assert comparison.groupby("method").size().to_dict() == {"mv": 36, "em": 36, "em_hard": 36}
    assert set(comparison["n_seeds"]) == {3}


@pytest.mark.parametrize(
    ("cells", "n_cells", "points"),
    [
        ("dataset == 'cifar100' and pattern == 'uniform' and method == 'mv'", 6, 0.4),
        ("dataset == 'cifar10' and pattern == 'uniform' and n_workers == 9 and missing_rate < 0.3", 6, 0.5),
        ("dataset == 'cifar10' and pattern == 'flip' and n_workers == 9 and method == 'mv'", 3, 0.7),
        ("dataset == 'cifar100' and pattern == 'bimodal' and n_workers == 9 and method == 'em'", 3, 0.4),
        ("dataset == 'cifar10' and pattern == 'bimodal' and n_workers == 9 and missing_rate < 0.3 and method == 'em'",
         2, 0.5),
        ("dataset == 'cifar100' and pattern == 'bimodal' and n_workers == 3 and method == 'mv'", 3, 0.4),
        ("dataset == 'cifar100' and pattern == 'flip' and n_workers == 3 and method == 'mv'", 3, 0.5),
    ],
)  # fmt: skip
def test_explained_cells_equal_the_papers(comparison: pd.DataFrame, cells: str, n_cells: int, points: float) -> None:
    mine = comparison.query(cells)
    assert len(mine) == n_cells
    assert mine["difference"].abs().max() <= points, mine.to_string()
