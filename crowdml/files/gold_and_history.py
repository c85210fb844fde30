"""Match known labels and earlier answers to a crowd by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from crowdml.labels import CrowdLabels

HISTORY_COLUMNS = ("worker", "truth", "label", "count")


def lookup(names: ArrayLike, wanted: ArrayLike) -> NDArray[np.int64]:
    """Return the (n_wanted,) position of each wanted name in `names`, -1 where the name is missing.

    Names of different types are compared as text: "7" in a file and 7 in a frame mean the same item.
    """
    index, sought = pd.Index(np.asarray(names)), pd.Index(np.asarray(wanted))
    if index.dtype != sought.dtype:
        index, sought = index.map(str), sought.map(str)
    return index.get_indexer(sought).astype(np.int64)


def item_names(crowd: CrowdLabels) -> NDArray:
    """Return the (n_items,) ids of the items."""
    return np.arange(crowd.n_items) if crowd.item_ids is None else crowd.item_ids


def worker_names(crowd: CrowdLabels) -> NDArray:
    """Return the (n_workers,) ids of the workers."""
    return np.arange(crowd.n_workers) if crowd.worker_ids is None else crowd.worker_ids


def class_names(crowd: CrowdLabels) -> NDArray:
    """Return the (n_classes,) names of the classes."""
    return np.arange(crowd.n_classes) if crowd.class_names is None else crowd.class_names


def with_gold(crowd: CrowdLabels, labels: pd.Series) -> CrowdLabels:
    """Return the crowd with known labels of some items, from labels with item ids as index.

    Labels of items that are not in the crowd are ignored.

    Raises:
        ValueError: `labels` has no item of the crowd, or has a label that is not a class of the crowd.
    """
    gold = true_classes(crowd, labels)
    if (gold == crowd.n_classes).any():
        names = class_names(crowd)
        unknown = labels[lookup(names, labels.to_numpy()) < 0].unique()
        raise ValueError(
            f"gold labels {', '.join(map(str, unknown[:5]))} are not among the classes {', '.join(map(str, names))}; "
            "pass the names of all classes if the crowd does not use every class"
        )
    return replace(crowd, gold=gold, repeats="keep")


def true_classes(crowd: CrowdLabels, labels: pd.Series) -> NDArray[np.int64]:
    """Return the (n_items,) class of each item, from labels with item ids as index.

    The class is -1 for an item without a label.  It is n_classes for an item whose label is not a class of the crowd.

    Raises:
        ValueError: `labels` has no item of the crowd, or has an item twice.
    """
    if not labels.index.is_unique:
        twice = labels.index[labels.index.duplicated()][0]
        raise ValueError(f"the known labels have task {twice} more than once")
    at = lookup(item_names(crowd), labels.index)
    if (at < 0).all():
        raise ValueError(
            f"none of the {len(labels)} tasks with a known label is in the crowd: "
            f"the labels have {labels.index[0]}, the crowd has {item_names(crowd)[0]}"
        )
    found = lookup(class_names(crowd), labels.to_numpy())[at >= 0]
    known = np.full(crowd.n_items, -1, np.int64)
    known[at[at >= 0]] = np.where(found < 0, crowd.n_classes, found)
    return known


def with_history(crowd: CrowdLabels, counts: pd.DataFrame) -> CrowdLabels:
    """Return the crowd with earlier answers of its workers.

    `counts` has the columns worker, truth, label and count, see `crowdml.files.frames.confusion_frame`.  Counts of the
    same worker, truth and label are added up.  Workers who are not in the crowd are ignored.

    Raises:
        ValueError: a column is missing, a class is not a class of the crowd, or a count is negative.
    """
    for name in HISTORY_COLUMNS:
        if name not in counts:
            raise ValueError(f"the history of workers needs {', '.join(HISTORY_COLUMNS)}; column {name!r} is missing")
    worker = lookup(worker_names(crowd), counts["worker"].to_numpy())
    cells = [lookup(class_names(crowd), counts[name].to_numpy()) for name in ("truth", "label")]
    for name, index in zip(("truth", "label"), cells, strict=True):
        if (index < 0).any():
            raise ValueError(f"history: {name} {counts[name].iloc[int(index.argmin())]} is not a class of the crowd")
    history = np.zeros((crowd.n_workers, crowd.n_classes, crowd.n_classes))
    here = worker >= 0
    np.add.at(history, (worker[here], cells[0][here], cells[1][here]), counts["count"].to_numpy(np.float64)[here])
    return replace(crowd, history=history, repeats="keep")
