"""What a training leaves behind, as tables."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crowdml.aggregation.aggregator import Aggregation
from crowdml.files.frames import confusion_frame, consensus_frame, workers_frame
from crowdml.labels import CrowdLabels

MOST_CONFUSION_ROWS = 5_000_000
"""Confusion matrices of more entries are not written as a table."""


def predictions_frame(
    ids: NDArray[Any], probabilities: NDArray[np.float64], classes: NDArray[Any], task_column: str = "task"
) -> pd.DataFrame:
    """One row an item: task, label (the most probable class), p_<class> for each class."""
    columns = {task_column: ids, "label": classes[probabilities.argmax(axis=1)]}
    return pd.DataFrame(columns | {f"p_{name}": probabilities[:, place] for place, name in enumerate(classes)})


def curves_frame(points: Sequence[tuple[int, str, float]]) -> pd.DataFrame:
    """One row a point of the learning curves: step (epochs over all trainings), metric, value."""
    return pd.DataFrame(points, columns=pd.Index(["step", "metric", "value"])).astype({"step": int, "value": float})


def crowd_tables(crowd: CrowdLabels, aggregation: Aggregation) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """The tables consensus, workers and confusion, and what was left out, a line each."""
    tables = {"consensus": consensus_frame(crowd, aggregation), "workers": workers_frame(crowd, aggregation)}
    n_rows = crowd.n_workers * crowd.n_classes**2
    if n_rows > MOST_CONFUSION_ROWS:
        return tables, [f"confusion matrices not written: they would be {n_rows:,} rows"]
    return tables | {"confusion": confusion_frame(crowd, aggregation)}, []


def accuracy_report(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> Mapping[str, float]:
    """Accuracy on the items whose truth is known (not -1), its standard error and their number."""
    known = truth >= 0
    share = float((probabilities.argmax(axis=1)[known] == truth[known]).mean())
    n_items = int(known.sum())
    return {"accuracy": share, "standard_error": float(np.sqrt(share * (1 - share) / n_items)), "n_items": n_items}


def versions() -> dict[str, str]:
    """What this runs on."""
    return {"python": platform.python_version()} | {name: version(name) for name in ("torch", "numpy")}
