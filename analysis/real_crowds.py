"""Tables of crowds of real workers, with one row per method and one column per crowd."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.load import REAL, method_order
from analysis.tables import Measure, Table
from crowdml.datasets import crowd_names

CROWD_ACCURACY = Measure("aggregation_error", "accuracy", "max")
"""Share of correct labels among the items with a known true class; the results hold 1 minus this share."""
NETWORK_ACCURACY = Measure("test_accuracy", "test accuracy", "max")
MEAN = "mean"
"""The last column: the mean over all crowds, for methods with a result for each crowd."""

_TABLE_AXES = ["n_workers", "missing_rate", "missing"]


def crowd_tables(cells: pd.DataFrame) -> list[Table]:
    """Return tables of accuracies, for each number of workers and missing rate of real crowds.

    One table shows the accuracy of the labels.  If networks were trained, another shows their test accuracy.  If a
    method has several networks or recipes on a crowd, the second is in a second table, and so on.

    Args:
        cells: the result of `analysis.load.load`.
    """
    real = cells[(cells["status"] == "ok") & (cells["pattern"] == REAL)]
    result = []
    for _, group in real.groupby(_TABLE_AXES, dropna=False, sort=True):
        result.append(_table(group, CROWD_ACCURACY, 1 - group["aggregation_error"]))
        result += _network_tables(group[group["test_accuracy"].notna()])
    return result


def _network_tables(group: pd.DataFrame) -> list[Table]:
    """Return a table for the first network and recipe of each method and crowd, a table for the second, and so on."""
    setting = group["network"].astype(str) + " " + group["recipe"].astype(str)
    same = [group["dataset"], group["method_name"]]
    rank = setting.groupby(same).transform(lambda values: pd.factorize(values, sort=True)[0])
    return [_table(part, NETWORK_ACCURACY, part["test_accuracy"]) for _, part in group.groupby(rank)]


def _table(group: pd.DataFrame, measure: Measure, share: pd.Series) -> Table:
    accuracy = (100 * share).groupby([group["method_name"], group["dataset"]])
    mean, std = accuracy.mean().unstack("dataset"), accuracy.std().unstack("dataset")
    methods = method_order(list(mean.index))
    crowds = list(dict.fromkeys([*(name for name in crowd_names() if name in mean), *mean]))
    values, spreads = (frame.loc[methods, crowds].to_numpy(float) for frame in (mean, std))
    n_seeds = accuracy.count()
    several = len(crowds) > 1
    if several:
        # A mean over fewer crowds would not be comparable with the other means; the entry stays empty.
        values = np.column_stack([values, values.mean(axis=1)])
        spreads = np.column_stack([spreads, np.full(len(methods), np.nan)])
    return Table(
        title=_title(group, measure),
        measure=measure,
        rows=tuple((method,) for method in methods),
        columns=(*crowds, MEAN) if several else tuple(crowds),
        mean=values,
        std=spreads,
        n_seeds=(int(n_seeds.min()), int(n_seeds.max())),
        axes=("method",),
        best_of="column",
    )


def _title(group: pd.DataFrame, measure: Measure) -> str:
    cell = group.iloc[0]
    parts = ["real crowds"]
    if measure is NETWORK_ACCURACY:
        parts.append(" and ".join(dict.fromkeys(group["network"])))
    if pd.notna(cell["n_workers"]):
        parts.append(f"{cell['n_workers']:.0f} of their workers")
    if cell["missing_rate"] > 0:
        parts.append(f"{100 * cell['missing_rate']:g} % of the labels removed ({cell['missing']})")
    return ", ".join(parts)
