"""How many labels per task are enough: the figure of `crowdml plan`."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

MARGIN = 0.01


def labels_needed(curve: pd.DataFrame, *, margin: float = MARGIN) -> Figure:
    """Draw accuracy (%) by labels per task with a band of two standard errors, and mark how many are enough.

    Args:
        curve: the table of `crowdml.quality.label_planning.enough_labels`.
        margin: a number of labels is enough if its accuracy is at most this far below the best accuracy.
    """
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.subplots()
    k, percent, error = curve["labels_per_item"], 100 * curve["accuracy"], 100 * curve["standard_error"]
    axes.plot(k, percent, marker="o", color="#0072B2")
    axes.fill_between(k, percent - 2 * error, percent + 2 * error, color="#0072B2", alpha=0.2, linewidth=0)
    enough = fewest_labels(curve, margin)
    axes.axvline(enough, color="#999999", linestyle=":")
    side = "right" if 2 * enough > k.min() + k.max() else "left"
    axes.annotate(f" {verdict(curve, margin)} ", (enough, percent.min()), color="#666666", ha=side)
    axes.set_xlabel("labels per task")
    axes.set_ylabel(f"{curve['measure'].iloc[0]} (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def fewest_labels(curve: pd.DataFrame, margin: float = MARGIN) -> int:
    """Return the smallest number of labels per task whose accuracy is within `margin` of the best."""
    near = curve[curve["accuracy"] >= curve["accuracy"].max() - margin]
    return int(near["labels_per_item"].min())


def verdict(curve: pd.DataFrame, margin: float = MARGIN) -> str:
    """Say in a few words how many labels per task are enough, or that more labels would still help."""
    enough = fewest_labels(curve, margin)
    if enough == curve["labels_per_item"].max():
        return f"still rising at {enough}"
    return f"{enough} are enough (within {100 * margin:g} %)"
