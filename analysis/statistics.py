"""Compare pairs of methods on the cells that both methods have."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from analysis.load import PANEL_AXES, method_order
from analysis.tables import Measure

PAIR_AXES = [*PANEL_AXES, "pattern_name", "n_workers", "missing_rate", "seed"]


@dataclass(frozen=True)
class PairedComparison:
    """Two methods on pairs of cells that differ only in the method, so that both saw the same crowds.

    Attributes:
        first, second: the methods.
        n_pairs: number of pairs.
        difference: mean of first minus second, in percentage points.
        low, high: 95 % bootstrap interval of the difference.
        p_value: p-value of Wilcoxon's signed-rank test; NaN if no pair differs.
        wins, ties, losses: number of pairs in which the first method is better, equal, worse.
    """

    first: str
    second: str
    n_pairs: int
    difference: float
    low: float
    high: float
    p_value: float
    wins: int
    ties: int
    losses: int


def compare_pair(
    cells: pd.DataFrame, first: str, second: str, measure: Measure, *, seed: int = 0
) -> PairedComparison | None:
    """Compare two methods; `seed` is the seed of the bootstrap.  Return None if the methods have no pair of cells."""
    from scipy import stats

    values = _by_method(cells, measure)
    if first not in values or second not in values:
        return None
    pairs = values[[first, second]].dropna()
    if pairs.empty:
        return None
    difference = 100 * (pairs[first] - pairs[second]).to_numpy(float)
    sampled = np.random.default_rng(seed).choice(difference, (2000, len(difference))).mean(axis=1)
    better = difference if measure.best == "max" else -difference
    low, high = np.quantile(sampled, [0.025, 0.975])
    p_value = float(stats.wilcoxon(difference).pvalue) if np.any(difference) else float("nan")  # pyright: ignore[reportAttributeAccessIssue]
    return PairedComparison(
        first, second, len(pairs), float(difference.mean()), float(low), float(high), p_value,
        int((better > 0).sum()), int((better == 0).sum()), int((better < 0).sum()),
    )  # fmt: skip


def compare_all(cells: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """Compare all pairs of methods; return one row per pair, with the fields of PairedComparison as columns."""
    methods = method_order(list(cells["method_name"].unique()))
    comparisons = [compare_pair(cells, first, second, measure) for first, second in combinations(methods, 2)]
    return pd.DataFrame([vars(one) for one in comparisons if one is not None])


def _by_method(cells: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    ok = cells[(cells["status"] == "ok") & cells[measure.column].notna()]
    return ok.groupby([*PAIR_AXES, "method_name"], dropna=False)[measure.column].mean().unstack("method_name")
