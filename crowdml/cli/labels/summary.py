"""Print a summary of a crowd and of an aggregation, in a few lines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from crowdml.aggregation.aggregator import Aggregation
from crowdml.cli.display import Console, show, sizes, speak, table
from crowdml.files.gold_and_history import class_names, worker_names
from crowdml.labels import CrowdLabels
from crowdml.quality.agreement import fleiss_kappa, krippendorff_alpha

N_WORST, DOUBTFUL = 5, 0.5
"""Number of worst workers that are shown, and the doubt above which an item counts as doubtful."""


def describe_crowd(console: Console, source: str, crowd: CrowdLabels) -> None:
    """Print sizes, labels per item and agreement."""
    names = class_names(crowd)
    labels = crowd.labels_per_item
    shown = ", ".join(map(str, names[:8])) + (", ..." if len(names) > 8 else "")
    speak(console, f"{source}: {sizes(crowd)}, {len(names)} classes ({shown})")
    speak(console, f"labels per item {labels.mean():.2f} ({labels.min()} to {labels.max()})")
    speak(console, f"agreement       {_agreement(crowd)}")
    if crowd.gold is not None:
        speak(console, f"gold labels     {(crowd.gold >= 0).sum():,} items")
    if crowd.history is not None:
        n_known = int((crowd.history.sum(axis=(1, 2)) > 0).sum())
        speak(console, f"history         {n_known:,} workers, {crowd.history.sum():,.0f} answers")


def describe_result(
    console: Console,
    method: str,
    crowd: CrowdLabels,
    result: Aggregation,
    seconds: float,
    truth: NDArray[np.int64] | None,
) -> None:
    """Print iterations, doubt, accuracy if the truth is given, and the worst workers."""
    end = "converged" if result.converged else "not converged"
    speak(console, f"method          {method}, {end} at iteration {result.n_iter}, {seconds:.2f} s")
    n_doubtful = int((result.doubt > DOUBTFUL).sum())
    doubt = f"mean {result.doubt.mean():.3f}; {n_doubtful:,} items above {DOUBTFUL} (1: no idea)"
    speak(console, f"doubt           {doubt}")
    if truth is not None:
        share, error = accuracy(result.labels, truth)
        speak(console, f"accuracy        {share:.4f} ± {error:.4f} on {(truth >= 0).sum():,} items")
    speak(console, "")
    show(console, _worst_workers(crowd, result))


def accuracy(labels: NDArray[np.integer], truth: NDArray[np.integer]) -> tuple[float, float]:
    """Return the share of right labels among items with known truth (not -1), and its standard error."""
    known = truth >= 0
    share = float((labels[known] == truth[known]).mean())
    return share, float(np.sqrt(share * (1 - share) / known.sum()))


def _worst_workers(crowd: CrowdLabels, result: Aggregation) -> Table:
    names = worker_names(crowd)
    worst = np.argsort(result.worker_quality, kind="stable")[:N_WORST]
    n_labels, quality, error = crowd.labels_per_worker, result.worker_quality, result.worker_quality_se
    rows = [(names[at], f"{n_labels[at]:,}", f"{quality[at]:.3f} ± {error[at]:.3f}") for at in worst]
    return table(("worst workers", "labels", "quality"), rows, numbers=("labels", "quality"))


def _agreement(crowd: CrowdLabels) -> str:
    kappa, alpha = fleiss_kappa(crowd), krippendorff_alpha(crowd)
    if np.isnan(kappa):
        return "not defined: no item has two labels, or all labels are of one class"
    return f"Fleiss' kappa {kappa:.3f}, Krippendorff's alpha {alpha:.3f}"
