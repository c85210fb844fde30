"""Is one method better than another?  Paired over the cells both have."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from analysis.load import PANEL_AXES, method_order
from analysis.tables import Measure

PAIR_AXES = [*PANEL_AXES, "pattern_name", "n_workers", "missing_rate", "seed"]


@dataclass(frozen=True)
class Comparison:
    """Two methods over the cells that differ in nothing else; they saw the same crowds.

    Attributes:
        first, second: the methods.
        n_pairs: cells compared.
        difference: mean of first minus second, in points.
        low, high: 95 % bootstrap interval of it.
        p_value: of Wilcoxon's signed-rank test; NaN where no pair differs.
        wins, ties, losses: pairs in which the first is better, equal, worse.
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


def compare_pair(cells: pd.DataFrame, first: str, second: str, measure: Measure, *, seed: int = 0) -> Comparison | None:
    """The comparison of two methods, or None where no cell has both."""
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
    return Comparison(
        first, second, len(pairs), float(difference.mean()), float(low), float(high), p_value,
        int((better > 0).sum()), int((better == 0).sum()), int((better < 0).sum()),
    )  # fmt: skip


def compare_all(cells: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """`compare_pair` of every two methods, one row a pair."""
    methods = method_order(list(cells["method_name"].unique()))
    made = [compare_pair(cells, first, second, measure) for first, second in combinations(methods, 2)]
    return pd.DataFrame([vars(one) for one in made if one is not None])


def average_ranks(cells: pd.DataFrame, measure: Measure) -> pd.Series:
    """Mean rank of each method (1 is best, ties share) over the cells that all methods have, best first."""
    values = _by_method(cells, measure).dropna()
    return values.rank(axis=1, ascending=measure.best == "min").mean().sort_values()


def _by_method(cells: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    ok = cells[(cells["status"] == "ok") & cells[measure.column].notna()]
    return ok.groupby([*PAIR_AXES, "method_name"], dropna=False)[measure.column].mean().unstack("method_name")
