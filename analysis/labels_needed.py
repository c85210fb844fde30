"""`python -m analysis.labels_needed CURVE`: the figure of accuracy against the number of labels an item."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("labels_per_item", "accuracy", "standard_error", "measure")
MARGIN = 0.01


def labels_needed(curve: pd.DataFrame, *, margin: float = MARGIN) -> Figure:
    """Accuracy (%) against labels an item, with a band of two standard errors, and where it is enough.

    Args:
        curve: of `crowdml.quality.label_planning.enough_labels`.
        margin: the fewest labels are marked whose accuracy is within this of the best.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.subplots()
    k, percent, error = curve["labels_per_item"], 100 * curve["accuracy"], 100 * curve["standard_error"]
    axes.plot(k, percent, marker="o", color="#0072B2")
    axes.fill_between(k, percent - 2 * error, percent + 2 * error, color="#0072B2", alpha=0.2, linewidth=0)
    enough = fewest_labels(curve, margin)
    axes.axvline(enough, color="#999999", linestyle=":")
    side = "right" if 2 * enough > k.min() + k.max() else "left"
    axes.annotate(f" {verdict(curve, margin)} ", (enough, percent.min()), color="#666666", ha=side)
    axes.set_xlabel("labels an item")
    axes.set_ylabel(f"{curve['measure'].iloc[0]} (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def fewest_labels(curve: pd.DataFrame, margin: float = MARGIN) -> int:
    """The smallest number of labels an item whose accuracy is within `margin` of the best, in [0, 1]."""
    near = curve[curve["accuracy"] >= curve["accuracy"].max() - margin]
    return int(near["labels_per_item"].min())


def verdict(curve: pd.DataFrame, margin: float = MARGIN) -> str:
    """Whether some number of labels is enough, in a few words; not if only the largest one tried is."""
    enough = fewest_labels(curve, margin)
    if enough == curve["labels_per_item"].max():
        return f"still rising at {enough}"
    return f"{enough} are enough (within {100 * margin:g} %)"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m analysis.labels_needed", description=__doc__)
    parser.add_argument("curve", metavar="CURVE", help="the CSV that crowdml plan --enough writes")
    parser.add_argument("--out", metavar="FILE", required=True, help="the figure: .png, .svg or .pdf")
    parser.add_argument("--margin", type=float, default=MARGIN, metavar="P", help="near the best (default 0.01)")
    options = parser.parse_args(arguments)
    try:
        curve = pd.read_csv(options.curve)
        missing = [name for name in COLUMNS if name not in curve]
        if missing or curve.empty:
            raise ValueError(f"{options.curve}: not a curve of crowdml plan; missing {', '.join(missing) or 'rows'}")
        labels_needed(curve, margin=options.margin).savefig(Path(options.out), dpi=200)
    except (OSError, ValueError) as error:
        print(f"analysis: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(f"labels an item: {verdict(curve, options.margin)}; wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
