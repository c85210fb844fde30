"""Compare our aggregation errors and test accuracies with Tables 1 and 2 of LABNET."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text

from analysis.load import ROW_AXES, method_order, panels, row_axes, row_order, summarise
from analysis.published.sheets import OursAndPaper, Sheet, sheets_to_html, sheets_to_markdown
from analysis.tables import ACCURACY, ERROR, ROW_HEAD, row_texts, terminal_table

FOLDER = Path(__file__).parent
LABNET_TABLES = ("labnet_table1", "labnet_table2")
# The paper has one EM and one LABNET.  Each of our variants is compared with it.
PUBLISHED_METHOD = {"em_hard": "em", "labnet_instance": "labnet"}
CLOSE, NEAR = 0.6, 2.0
"""The largest differences in percentage points of a green and a yellow entry."""

_MEASURES = {"aggregation_error": ERROR, "accuracy": ACCURACY}
_DIFFERENCE = "ours and the difference from the paper"
_COLUMNS = [
    "panel", "dataset", "noise_rate", *ROW_AXES, "method", "measure", "ours", "ours_std", "n_seeds", "published",
    "published_std", "difference",
]  # fmt: skip


@cache
def published(name: str) -> pd.DataFrame:
    """Return a published table: labnet_table1, labnet_table2, nnaqc_table1, nnaqc_table2 or nnaqc_table5.

    Raises:
        FileNotFoundError: no table has this name.
    """
    return pd.read_csv(FOLDER / f"{name}.csv")


def compare(cells: pd.DataFrame) -> pd.DataFrame:
    """Compare our means with LABNET's Tables 1 and 2: one row per published cell, measure and own method.

    Only cells in the setting of the paper count: the whole training set, homogeneous workers who label every item, and
    a missing rate rounded down to whole labels.  A data set of labels only (`cifar10_labels`) counts as `cifar10`.
    Our numbers are over the classes that the pattern can change, as in the paper.  Means are over seeds only: several
    networks, recipes or options of a method give several rows.

    Args:
        cells: the result of `analysis.load.load`.

    Returns:
        A frame with the columns panel (its title), dataset, noise_rate, pattern, n_workers, missing_rate, method,
        measure, ours, ours_std, n_seeds, published, published_std and difference (ours minus published).  Numbers are
        in percent and percentage points.
    """
    paper = pd.concat([published(name) for name in LABNET_TABLES])
    in_setting = (
        cells["n_train"].isna()
        & (cells["worker_model"] == "homogeneous")
        & (cells["assignment"] == "every_item")
        & (cells["missing"] == "floor")
    )
    parts = []
    for title, panel in panels(cells[in_setting]):
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
            parts.append(_join(ours.reset_index(), names, wanted).assign(panel=title, measure=measure, **setting))
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_COLUMNS)
    return frame.assign(difference=frame["ours"] - frame["published"])[_COLUMNS]


def grade(difference: float) -> str:
    """Return "green" up to CLOSE points, "yellow" up to NEAR, else "red"; the difference is rounded as printed."""
    printed = abs(round(difference, 2))
    return "green" if printed <= CLOSE else "yellow" if printed <= NEAR else "red"


def to_rich(comparison: pd.DataFrame, measure: str) -> Group:
    """Return tables for the terminal: our number and, coloured, the difference from the published number."""
    parts: list[RenderableType] = []
    for sheet in _sheets(comparison, measure):
        rich_table = terminal_table(sheet.head, sheet.methods)
        for row, pairs in sheet.rows:
            rich_table.add_row(*row_texts(row), *map(_terminal_entry, pairs))
        parts += [Text(f"{sheet.caption}: {_DIFFERENCE}", style="bold"), "", rich_table, ""]
    return Group(*parts)


def to_markdown(comparison: pd.DataFrame, measure: str) -> str:
    """Return GitHub tables of our number, the paper's number and the difference, in bold above CLOSE points."""
    return sheets_to_markdown(_sheets(comparison, measure), _markdown_entry)


def to_html(comparison: pd.DataFrame, measure: str) -> str:
    """Return HTML tables of our number and the difference, with its grade as class and the paper number as tooltip."""
    sheets = (replace(sheet, caption=f"{sheet.caption}: {_DIFFERENCE}") for sheet in _sheets(comparison, measure))
    return sheets_to_html(sheets, _html_entry)


def _sheets(comparison: pd.DataFrame, measure: str) -> Iterator[Sheet]:
    """Yield one table per panel, with the rows of the paper's table."""
    chosen = comparison[comparison["measure"] == measure]
    for title, panel in chosen.groupby("panel", sort=False):
        methods = method_order(list(panel["method"].unique()))
        keys = zip(panel["pattern"], panel["n_workers"], panel["missing_rate"], panel["method"], strict=True)
        pairs = dict(zip(keys, zip(panel["ours"], panel["published"], strict=True), strict=True))
        rows: list[tuple[str, int, float]] = sorted(
            {(str(row[0]), int(row[1]), float(row[2])) for row in pairs}, key=row_order
        )
        yield Sheet(
            f"{title}: {_MEASURES[measure].title} (%)",
            ROW_HEAD,
            methods,
            [(row, [pairs.get((*row, method)) for method in methods]) for row in rows],
        )


def _join(ours: pd.DataFrame, names: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Add to each of our rows the published number of its pattern and method; options of both are ignored."""
    plain = names.assign(method=names["method"].replace(PUBLISHED_METHOD))
    named = ours.rename(columns={"pattern": "pattern_name"}).merge(plain, on=["method_name", "pattern_name"])
    joined = named.merge(theirs, on=[*ROW_AXES, "method"])
    return joined.drop(columns=["pattern", "method"]).rename(
        columns={"pattern_name": "pattern", "method_name": "method"}
    )


def _terminal_entry(pair: OursAndPaper) -> Text:
    if pair is None:
        return Text("-")
    difference = pair[0] - pair[1]
    return Text.assemble(f"{pair[0]:.2f} ", (f"{difference:+.2f}", grade(difference)))


def _markdown_entry(pair: OursAndPaper) -> str:
    if pair is None:
        return "-"
    difference = pair[0] - pair[1]
    mark = "" if grade(difference) == "green" else "**"
    return f"{pair[0]:.2f} / {pair[1]:.2f} ({mark}{difference:+.2f}{mark})"


def _html_entry(pair: OursAndPaper) -> str:
    if pair is None:
        return "<td>-</td>"
    difference = pair[0] - pair[1]
    return (
        f'<td title="paper: {pair[1]:.2f}">{pair[0]:.2f} <span class={grade(difference)}>{difference:+.2f}</span></td>'
    )
