"""Our numbers beside the papers'."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

FOLDER = Path(__file__).parent / "published"
LABNET_TABLES = ("labnet_table1", "labnet_table2")
# The paper has one EM; ours, soft and hard, are both held against it.
PUBLISHED_METHOD = {"em_hard": "em", "labnet_instance": "labnet"}
CLOSE, NEAR = 0.6, 2.0
"""Differences in points up to which an entry is green, and yellow."""


@lru_cache(maxsize=None)
def published(name: str) -> pd.DataFrame:
    """A published table as data: labnet_table1, labnet_table2, nnaqc_table1, nnaqc_table2 or nnaqc_table5.

    Raises:
        FileNotFoundError: there is no such table.
    """
    return pd.read_csv(FOLDER / f"{name}.csv")


def compare(cells: pd.DataFrame) -> pd.DataFrame:
    """Our means beside LABNET's Tables 1 and 2, one row a published cell, method and measure that we have.

    Label-only data sets (`cifar10_labels`) stand for their data set in the aggregation error.  Ours are over the
    classes that the pattern can change, as the paper's are.

    Args:
        cells: of `analysis.load.load`.

    Returns:
        Columns dataset, pattern, n_workers, missing_rate, method, measure, ours, ours_std, n_seeds, published,
        difference; in percent and points.
    """
    paper = pd.concat([published(name) for name in LABNET_TABLES])
    ok = cells[(cells["status"] == "ok") & (cells["missing"] == "floor")].copy()
    ok["dataset"] = ok["dataset"].str.removesuffix("_labels")
    ok["published_method"] = ok["method"].replace(PUBLISHED_METHOD)
    measures = {"aggregation_error": "aggregation_error_affected", "accuracy": "test_accuracy_affected"}
    keys = ["dataset", "noise_rate", "pattern", "n_workers", "missing_rate"]
    made = []
    for measure, column in measures.items():
        # The labels of a cell are the same whatever network was trained; a method's options are not.
        by = [*keys, "method_name", "published_method", *(["network", "recipe", "n_train"] if measure == "accuracy" else ["n_train"])]
        ours = 100 * ok.dropna(subset=column).groupby(by, dropna=False)[column].agg(["mean", "std"])
        ours["n_seeds"] = ok.dropna(subset=column).groupby(by, dropna=False)[column].count()
        theirs = paper.rename(columns={"method": "published_method", f"{measure}_mean": "published"})
        joined = ours.reset_index().merge(theirs[[*keys, "published_method", "published"]], on=[*keys, "published_method"])
        made.append(joined.assign(measure=measure))
    frame = pd.concat(made, ignore_index=True).rename(
        columns={"mean": "ours", "std": "ours_std", "method_name": "method"}
    )
    frame["difference"] = frame["ours"] - frame["published"]
    columns = [*keys, "method", "measure", "ours", "ours_std", "n_seeds", "published", "difference"]
    order = ["measure", "dataset", "pattern", "n_workers", "missing_rate", "method"]
    patterns = pd.Categorical(frame["pattern"], ["uniform", "bimodal", "flip"], ordered=True)
    return frame.assign(pattern=patterns).sort_values(order, ignore_index=True)[columns]


def grade(difference: float) -> str:
    """green within CLOSE points, yellow within NEAR, else red."""
    return "green" if abs(difference) <= CLOSE else "yellow" if abs(difference) <= NEAR else "red"


def to_rich(comparison: pd.DataFrame, measure: str) -> Group:
    """Ours and, coloured, its difference from the published number."""
    wide, methods = _wide(comparison, measure)
    drawn = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in ("data set", "pattern", "workers", "missing", *methods):
        drawn.add_column(name, justify="left" if name in ("data set", "pattern") else "right")
    for (dataset, pattern, n_workers, missing), row in wide.iterrows():  # pyright: ignore[reportGeneralTypeIssues]
        entries = [_rich_entry(row, method) for method in methods]
        drawn.add_row(str(dataset), str(pattern), str(n_workers), f"{missing:g}", *entries)
    title = f"{measure.replace('_', ' ')} (%) and its difference from the published number"
    return Group(Text(title, style="bold"), "", drawn, "")


def to_markdown(comparison: pd.DataFrame, measure: str) -> str:
    """A GitHub table; differences of more than CLOSE points are marked with their sign."""
    wide, methods = _wide(comparison, measure)
    header = ["data set", "pattern", "workers", "missing", *(f"{method}: ours / paper (diff.)" for method in methods)]
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * 2}{'---:|' * (len(header) - 2)}"]
    for (dataset, pattern, n_workers, missing), row in wide.iterrows():  # pyright: ignore[reportGeneralTypeIssues]
        entries = [_markdown_entry(row, method) for method in methods]
        lines.append(f"| {dataset} | {pattern} | {n_workers} | {missing:g} | {' | '.join(entries)} |")
    return "\n".join(lines) + "\n"


def _wide(comparison: pd.DataFrame, measure: str) -> tuple[pd.DataFrame, list[str]]:
    from analysis.load import method_order

    mine = comparison[comparison["measure"] == measure]
    methods = method_order(list(mine["method"].unique()))
    index = ["dataset", "pattern", "n_workers", "missing_rate"]
    wide = mine.pivot_table(
        index=index, columns="method", values=["ours", "published", "difference"], observed=True, aggfunc="mean"
    )
    return wide, methods


def _rich_entry(row: pd.Series, method: str) -> Text:
    ours, difference = (row[(name, method)] for name in ("ours", "difference"))
    if np.isnan(ours):
        return Text("-")
    return Text.assemble(f"{ours:.2f} ", (f"{difference:+.2f}", grade(difference)))


def _markdown_entry(row: pd.Series, method: str) -> str:
    ours, theirs, difference = (row[(name, method)] for name in ("ours", "published", "difference"))
    if np.isnan(ours):
        return "-"
    shown = f"{difference:+.2f}"
    return f"{ours:.2f} / {theirs:.2f} ({shown if abs(difference) <= CLOSE else f'**{shown}**'})"
