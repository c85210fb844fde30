"""Our numbers beside the papers'."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text

from analysis.load import ROW_AXES, method_order, panels, row_axes, row_order, summarise
from analysis.tables import ACCURACY, ERROR, Row, html_table, markdown_table, row_texts, terminal_table

FOLDER = Path(__file__).parent
LABNET_TABLES = ("labnet_table1", "labnet_table2")
# The paper has one EM and one LABNET; each variant of ours is held against it.
PUBLISHED_METHOD = {"em_hard": "em", "labnet_instance": "labnet"}
CLOSE, NEAR = 0.6, 2.0
"""Differences in points up to which an entry is green, and yellow."""

_MEASURES = {"aggregation_error": ERROR, "accuracy": ACCURACY}
_DIFFERENCE = "ours and its difference from the paper's"
_COLUMNS = [
    "panel", "dataset", "noise_rate", *ROW_AXES, "method", "measure", "ours", "ours_std", "n_seeds", "published",
    "published_std", "difference",
]  # fmt: skip


@cache
def published(name: str) -> pd.DataFrame:
    """A published table as data: labnet_table1, labnet_table2, nnaqc_table1, nnaqc_table2 or nnaqc_table5.

    Raises:
        FileNotFoundError: there is no such table.
    """
    return pd.read_csv(FOLDER / f"{name}.csv")


def compare(cells: pd.DataFrame) -> pd.DataFrame:
    """Our means beside LABNET's Tables 1 and 2, one row a published cell, measure and method of ours.

    Only cells in the paper's setting count: the whole training set, workers who are all alike and label everything, a
    missing rate rounded down to whole labels.  Label-only data sets (`cifar10_labels`) stand for their data set in the
    aggregation error.  Ours are over the classes that the pattern can change, as the paper's are.  Nothing but seeds is
    averaged: several networks, recipes or options of a method give several rows.

    Args:
        cells: of `analysis.load.load`.

    Returns:
        Columns panel (its title), dataset, noise_rate, pattern, n_workers, missing_rate, method, measure, ours,
        ours_std, n_seeds, published, published_std, difference (ours minus published); in percent and points.
    """
    paper = pd.concat([published(name) for name in LABNET_TABLES])
    alike = (
        cells["n_train"].isna()
        & (cells["worker_model"] == "homogeneous")
        & (cells["assignment"] == "every_item")
        & (cells["missing"] == "floor")
    )
    made = []
    for title, panel in panels(cells[alike]):
        if row_axes(panel) != ROW_AXES:
            continue
        setting = {
            "dataset": panel["dataset"].iloc[0].removesuffix("_labels"),
            "noise_rate": panel["noise_rate"].iloc[0],
        }
        theirs = paper[(paper["dataset"] == setting["dataset"]) & (paper["noise_rate"] == setting["noise_rate"])]
        names = panel[["method", "method_name", "pattern", "pattern_name"]].drop_duplicates()
        for measure, shown in _MEASURES.items():
            ours = summarise(panel, shown.column) * [100, 100, 1]
            ours.columns = ["ours", "ours_std", "n_seeds"]
            columns = {f"{measure}_mean": "published", f"{measure}_std": "published_std"}
            wanted = theirs.rename(columns=columns)[[*ROW_AXES, "method", *columns.values()]]
            made.append(_join(ours.reset_index(), names, wanted).assign(panel=title, measure=measure, **setting))
    frame = pd.concat(made, ignore_index=True) if made else pd.DataFrame(columns=_COLUMNS)
    return frame.assign(difference=frame["ours"] - frame["published"])[_COLUMNS]


def grade(difference: float) -> str:
    """green within CLOSE points, yellow within NEAR, else red; of the difference as it is printed."""
    printed = abs(round(difference, 2))
    return "green" if printed <= CLOSE else "yellow" if printed <= NEAR else "red"


def to_rich(comparison: pd.DataFrame, measure: str) -> Group:
    """For the terminal: ours and, coloured, its difference from the published number."""
    parts: list[RenderableType] = []
    for sheet in _sheets(comparison, measure):
        drawn = terminal_table(sheet.methods)
        for row, pairs in sheet.rows:
            drawn.add_row(*row_texts(row), *map(_terminal_entry, pairs))
        parts += [Text(f"{sheet.caption}: {_DIFFERENCE}", style="bold"), "", drawn, ""]
    return Group(*parts)


def to_markdown(comparison: pd.DataFrame, measure: str) -> str:
    """GitHub tables of ours, the paper's and the difference, which is bold where it is more than CLOSE points."""
    return "\n".join(
        markdown_table(
            f"{sheet.caption}: ours / paper (difference)",
            sheet.methods,
            [[*row_texts(row), *map(_markdown_entry, pairs)] for row, pairs in sheet.rows],
        )
        for sheet in _sheets(comparison, measure)
    )


def to_html(comparison: pd.DataFrame, measure: str) -> str:
    """HTML tables of ours and its difference, of class green, yellow or red; the paper's number is the tooltip."""
    made = []
    for sheet in _sheets(comparison, measure):
        rows = [(row, [_html_entry(pair) for pair in pairs]) for row, pairs in sheet.rows]
        made.append(html_table(f"{sheet.caption}: {_DIFFERENCE}", sheet.methods, rows))
    return "\n".join(made)


Pair = tuple[float, float] | None
"""Ours and the paper's, in percent; None where we have no cell."""


@dataclass(frozen=True)
class _Sheet:
    """The comparison of one panel, a row of pairs a row of the paper's table."""

    caption: str
    methods: list[str]
    rows: list[tuple[Row, list[Pair]]]


def _sheets(comparison: pd.DataFrame, measure: str) -> Iterator[_Sheet]:
    mine = comparison[comparison["measure"] == measure]
    for title, panel in mine.groupby("panel", sort=False):
        methods = method_order(list(panel["method"].unique()))
        keys = zip(panel["pattern"], panel["n_workers"], panel["missing_rate"], panel["method"], strict=True)
        pairs = dict(zip(keys, zip(panel["ours"], panel["published"], strict=True), strict=True))
        rows: list[Row] = sorted({(str(row[0]), int(row[1]), float(row[2])) for row in pairs}, key=row_order)
        yield _Sheet(
            f"{title}: {_MEASURES[measure].title} (%)",
            methods,
            [(row, [pairs.get((*row, method)) for method in methods]) for row in rows],
        )


def _join(ours: pd.DataFrame, names: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Rows of ours with the published number of their pattern and method, whatever the options of either."""
    plain = names.assign(method=names["method"].replace(PUBLISHED_METHOD))
    named = ours.rename(columns={"pattern": "pattern_name"}).merge(plain, on=["method_name", "pattern_name"])
    joined = named.merge(theirs, on=[*ROW_AXES, "method"])
    return joined.drop(columns=["pattern", "method"]).rename(
        columns={"pattern_name": "pattern", "method_name": "method"}
    )


def _terminal_entry(pair: Pair) -> Text:
    if pair is None:
        return Text("-")
    difference = pair[0] - pair[1]
    return Text.assemble(f"{pair[0]:.2f} ", (f"{difference:+.2f}", grade(difference)))


def _markdown_entry(pair: Pair) -> str:
    if pair is None:
        return "-"
    difference = pair[0] - pair[1]
    mark = "" if grade(difference) == "green" else "**"
    return f"{pair[0]:.2f} / {pair[1]:.2f} ({mark}{difference:+.2f}{mark})"


def _html_entry(pair: Pair) -> str:
    if pair is None:
        return "<td>-</td>"
    difference = pair[0] - pair[1]
    return (
        f'<td title="paper: {pair[1]:.2f}">{pair[0]:.2f} <span class={grade(difference)}>{difference:+.2f}</span></td>'
    )
