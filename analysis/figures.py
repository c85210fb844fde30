"""Figures: accuracy and error against the number of workers (LABNET's Figures 2-5) or the noise; learning curves."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.load import PATTERN_ORDER, ROW_AXES, method_order, panels, row_axes, summarise
from analysis.tables import ACCURACY, ERROR, PARTIAL_PATTERNS, Measure
from crowdml.support.whole_file import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours of Okabe and Ito, which colour-blind readers can distinguish.  A method has the same colour in every figure.
_STYLES = {
    "mv": ("#999999", "s"),
    "em": ("#0072B2", "o"),
    "em_hard": ("#56B4E9", "v"),
    "minimax_entropy": ("#CC79A7", "D"),
    "labnet": ("#E69F00", "^"),
    "labnet_instance": ("#009E73", "P"),
}
_SPARE = [("#D55E00", "X"), ("#F0E442", "<"), ("#000000", ">"), ("#7F3C8D", "h")]
_MOST_PLOTS = 20
"""The most rows and columns of plots in a figure; an image has a largest size."""
_NAME_WIDTH, _TITLE_WIDTH = 60, 200


def figures(cells: pd.DataFrame, curves: pd.DataFrame | None = None) -> dict[str, Figure]:
    """Draw the accuracy, error and learning curves of each panel; return file name without suffix -> figure.

    Args:
        cells: the result of `analysis.load.load`.
        curves: the result of `analysis.load.load_curves`, for figures of learning curves.
    """
    result: dict[str, Figure] = {}
    for number, (title, panel) in enumerate(panels(cells), 1):
        name = f"{number:02}-{re.sub(r'[^A-Za-z0-9._-]+', '_', panel['dataset'].iloc[0])[:_NAME_WIDTH]}"
        for measure, short in ((ACCURACY, "accuracy"), (ERROR, "error")):
            if panel[measure.column].notna().any():
                result[f"{name}-{short}"] = draw_measure(panel, measure, title)
        if curves is not None:
            points = curves[curves["cell_id"].isin(panel["cell_id"]) & (curves["metric"] == "test_accuracy")]
            if len(points):
                result[f"{name}-curves"] = learning_curves(points, title)
    return result


def save(figure: Figure, path: Path) -> None:
    """Write a figure to a file; its suffix is the format."""
    drawn = BytesIO()
    with warnings.catch_warnings():
        # A figure with small plots, or with a box for a letter that the font lacks, is better than no figure.
        warnings.simplefilter("ignore")
        # Draw in memory, because PIL hides the error of a full disk behind errors of its own.
        figure.savefig(drawn, format=path.suffix[1:], dpi=150)
    with whole_file(path) as temporary:
        temporary.write_bytes(drawn.getvalue())


def draw_measure(panel: pd.DataFrame, measure: Measure, title: str) -> Figure:
    """Draw a measure (%) against the number of workers, or against the noise rate if the panel has several.

    There is one column of plots per pattern and one row per missing rate.  Error bars are one standard deviation over
    seeds.  Missing cells are left out.  Only the first _MOST_PLOTS patterns and missing rates are drawn.
    """
    by_workers = row_axes(panel) == ROW_AXES
    across, label = ("n_workers", "workers per item") if by_workers else ("noise_rate", "noise rate")
    rates = sorted(panel["missing_rate"].unique())[:_MOST_PLOTS]
    summary = (100 * summarise(panel, measure.column)[["mean", "std"]]).reset_index().sort_values(across)
    if not by_workers:
        summary["missing_rate"] = rates[0]
    lines = dict(iter(summary.groupby(["pattern", "missing_rate", "method_name"])))
    patterns, methods = _ordered(panel), method_order(list(panel["method_name"].unique()))
    styles = _styles(methods)
    figure, axes = _grid(len(rates), len(patterns))
    for row, rate in enumerate(rates):
        for column, pattern in enumerate(patterns):
            ax = axes[row][column]
            for method in methods:
                line = lines.get((pattern, rate, method))
                if line is not None:
                    _error_bars(ax, line, across, styles[method], method)
            affected = ", affected classes" if pattern.partition(" ")[0] in PARTIAL_PATTERNS else ""
            ax.set_title(f"{_short(pattern)}{affected}" if row == 0 else "", fontsize=11)
            if by_workers:
                ax.set_xticks(sorted(panel["n_workers"].unique()))
            if row == len(rates) - 1:
                ax.set_xlabel(label)
        missing = f"\n{100 * rate:g} % missing" if len(rates) > 1 else ""
        axes[row][0].set_ylabel(f"{measure.title} (%){missing}")
    _finish(figure, methods, title)
    return figure


def learning_curves(curves: pd.DataFrame, title: str) -> Figure:
    """Draw the mean test accuracy (%) over seeds against the epoch, counted over all trainings of a cell.

    Only the cells with the most workers, the lowest missing rate and the highest noise rate are drawn.
    """
    most = curves[
        (curves["n_workers"] == curves["n_workers"].max())
        & (curves["missing_rate"] == curves["missing_rate"].min())
        & ((curves["noise_rate"] == curves["noise_rate"].max()) | curves["noise_rate"].isna())
    ]
    patterns = _ordered(most)
    methods = method_order(list(most["method_name"].unique()))
    styles = _styles(methods)
    figure, axes = _grid(1, len(patterns))
    for column, pattern in enumerate(patterns):
        ax = axes[0][column]
        for method in methods:
            points = most[(most["pattern_name"] == pattern) & (most["method_name"] == method)]
            # Seeds may differ in the number of epochs.  Draw only epochs that all have; else the mean jumps.
            steps = points.groupby("step")["value"].agg(["mean", "count"])
            steps = steps[steps["count"] == steps["count"].max()] if len(steps) else steps
            ax.plot(steps.index, 100 * steps["mean"], color=styles[method][0], linewidth=1.4, label=method)
        ax.set_title(f"{_short(pattern)}, all classes", fontsize=11)
        ax.set_xlabel("epochs, all trainings")
    axes[0][0].set_ylabel("test accuracy (%)")
    at = f", {100 * most['noise_rate'].max():g} % noise" if curves["noise_rate"].nunique() > 1 else ""
    n_workers = most["n_workers"].max()
    _finish(figure, methods, f"{title}{at}, {n_workers} worker{'s' if n_workers > 1 else ''}")
    return figure


def _error_bars(ax: Axes, line: pd.DataFrame, across: str, style: tuple[str, str], method: str) -> None:
    colour, marker = style
    ax.errorbar(
        line[across], line["mean"], yerr=line["std"].fillna(0).to_numpy(),
        color=colour, marker=marker, markersize=5, linewidth=1.6, capsize=2.5, label=method,
    )  # fmt: skip


def _ordered(panel: pd.DataFrame) -> list[str]:
    names = list(panel["pattern_name"].unique())
    return sorted(names, key=lambda name: (*[name.partition(" ")[0] != known for known in PATTERN_ORDER], name))[
        :_MOST_PLOTS
    ]


def _short(name: str, width: int = _NAME_WIDTH) -> str:
    return name if len(name) <= width else f"{name[:width]}..."


def _styles(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    spare = iter(_SPARE * len(methods))
    return {method: _STYLES[method] if method in _STYLES else next(spare) for method in methods}


def _grid(n_rows: int, n_columns: int) -> tuple[Figure, list[list[Axes]]]:
    import matplotlib as mpl

    mpl.use("Agg")  # draws to files and needs no display
    mpl.rcParams["text.parse_math"] = False  # a dollar sign in a name is no formula
    from matplotlib import pyplot as plt

    size = (3.1 * n_columns + 1.2, 2.6 * n_rows + 0.9)
    figure, axes = plt.subplots(
        n_rows, n_columns, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for ax in axes.flat:
        ax.grid(alpha=0.3, linewidth=0.6)
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes.tolist()


def _finish(figure: Figure, methods: Sequence[str], title: str) -> None:
    from matplotlib import pyplot as plt

    legend: dict[str, Any] = {}
    for ax in figure.axes:
        handles, labels = ax.get_legend_handles_labels()
        legend |= zip(labels, handles, strict=True)
    names = [method for method in methods if method in legend]
    figure.legend(
        [legend[name] for name in names], [_short(name) for name in names],
        loc="outside lower center", ncols=min(len(names), 6), frameon=False, fontsize=9.5,
    )  # fmt: skip
    figure.suptitle(_short(title, _TITLE_WIDTH), fontsize=12)
    plt.close(figure)
