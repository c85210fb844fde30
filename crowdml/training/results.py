"""Tables and numbers that a training writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crowdml.aggregation.aggregator import Aggregation
from crowdml.files import renamed
from crowdml.files.frames import MOST_CLASSES, confusion_frame, consensus_frame, workers_frame
from crowdml.labels import CrowdLabels

MOST_CONFUSION_ROWS = 5_000_000
"""No table of confusion matrices is written if it would have more rows."""
MOST_PROBABILITIES = 50_000_000
"""Tables of items leave out the columns p_<class> if these columns would hold more numbers."""


def predictions_frame(
    ids: NDArray[Any],
    probabilities: NDArray[np.float64],
    classes: NDArray[Any],
    task_column: str = "task",
    truth: NDArray[np.int64] | None = None,
) -> pd.DataFrame:
    """Return one row per item: task, label (the most probable class), and p_<class> for each class.

    Args:
        ids: (n_items,) the ids of the items.
        probabilities: (n_items, n_classes).  Above MOST_PROBABILITIES numbers, one column `probability` of the label
            replaces the columns p_<class>.
        classes: (n_classes,) the names of the classes.
        task_column: the name of the column of ids.
        truth: (n_items,) true classes, added as a column; n_classes stands for a class without training labels.
    """
    columns = {"task": ids, "label": classes[probabilities.argmax(axis=1)]}
    if truth is not None:
        columns["truth"] = np.array([*classes, None], dtype=object)[truth]
    if probabilities.size > MOST_PROBABILITIES:
        columns["probability"] = probabilities.max(axis=1)
    else:
        columns |= {f"p_{name}": probabilities[:, place] for place, name in enumerate(classes)}
    return renamed(pd.DataFrame(columns), {"task": task_column})


def curves_frame(points: Sequence[tuple[int, str, float]]) -> pd.DataFrame:
    """Return one row per point of the learning curves: step (epoch, counted over all trainings), metric, value."""
    return pd.DataFrame(points, columns=pd.Index(["step", "metric", "value"])).astype({"step": int, "value": float})


def crowd_tables(crowd: CrowdLabels, aggregation: Aggregation) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Return the tables consensus, workers and confusion, and one line per part that is left out."""
    consensus, left_out = consensus_frame(crowd, aggregation), []
    if crowd.n_classes > MOST_CLASSES or crowd.n_items * crowd.n_classes > MOST_PROBABILITIES:
        consensus = consensus.loc[:, ~consensus.columns.str.startswith("p_")]
        left_out.append(f"probabilities of {crowd.n_classes:,} classes not written for {crowd.n_items:,} items")
    tables = {"consensus": consensus, "workers": workers_frame(crowd, aggregation)}
    n_rows = crowd.n_workers * crowd.n_classes**2
    if n_rows > MOST_CONFUSION_ROWS:
        return tables, [*left_out, f"confusion matrices not written, because they have {n_rows:,} entries"]
    return tables | {"confusion": confusion_frame(crowd, aggregation)}, left_out


def accuracy_report(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> Mapping[str, float]:
    """Return the accuracy, its standard error and the number of items; `truth` is (n_items,) true classes."""
    share = float((probabilities.argmax(axis=1) == truth).mean())
    n_items = len(truth)
    return {"accuracy": share, "standard_error": float(np.sqrt(share * (1 - share) / n_items)), "n_items": n_items}
