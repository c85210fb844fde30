"""Print a summary of a crowd and of an aggregation, in a few lines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from crowdml.aggregation.aggregator import Aggregation
from crowdml.cli.display import Console, show, sizes, speak, table
from crowdml.files.gold_and_history import class_names, worker_names
from crowdml.labels import CrowdLabels
from crowdml.quality.agreement import fleiss_kappa, krippendorff_alpha, why_no_alpha, why_no_kappa

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
    n_tied = int((result.labels < 0).sum())
    if n_tied:
        speak(console, f"no label        {n_tied:,} tied items")
    if truth is not None:
        n_scored = int(((truth >= 0) & (result.labels >= 0)).sum())
        speak(console, f"accuracy        {accuracy_text(*accuracy(result.labels, truth))} on {n_scored:,} items")
    speak(console, "")
    show(console, _worst_workers(crowd, result))


def accuracy(labels: NDArray[np.integer], truth: NDArray[np.integer]) -> tuple[float, float]:
    """Return the share of right labels and its standard error, among items with a label and a known truth (not -1).

    Both are NaN if there is no such item.
    """
    known = (truth >= 0) & (labels >= 0)
    if not known.any():
        return np.nan, np.nan
    share = float((labels[known] == truth[known]).mean())
    return share, float(np.sqrt(share * (1 - share) / known.sum()))


def accuracy_text(share: float, error: float) -> str:
    """Return an accuracy with its standard error as text."""
    return "not defined" if np.isnan(share) else f"{share:.4f} ± {error:.4f}"


def _worst_workers(crowd: CrowdLabels, result: Aggregation) -> Table:
    names = worker_names(crowd)
    worst = np.argsort(result.worker_quality, kind="stable")[:N_WORST]
    n_labels, quality, error = crowd.labels_per_worker, result.worker_quality, result.worker_quality_se
    rows = [(names[at], f"{n_labels[at]:,}", f"{quality[at]:.3f} ± {error[at]:.3f}") for at in worst]
    return table(("worst workers", "labels", "quality"), rows, numbers=("labels", "quality"))


def _agreement(crowd: CrowdLabels) -> str:
    no_kappa, no_alpha = why_no_kappa(crowd), why_no_alpha(crowd)
    if no_kappa:
        return f"not defined: {no_kappa}"
    alpha = f"not defined: {no_alpha}" if no_alpha else f"{krippendorff_alpha(crowd):.3f}"
    return f"Fleiss' kappa {fleiss_kappa(crowd):.3f}, Krippendorff's alpha {alpha}"
