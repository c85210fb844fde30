"""Match labels with items by the ids of the items; count and report ids without a partner."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crowdml.files.gold_and_history import class_names, item_names, lookup, worker_names
from crowdml.labels import CrowdLabels
from crowdml.training.folders.layouts import SUFFIXES
from crowdml.training.items import Items, digest, some


@dataclass(frozen=True, eq=False)
class Matched:
    """The annotations of the items, and the ids without a partner.

    Attributes:
        crowd: the annotations; its items are the items at `places`, in that order.
        places: (n_labelled,) int64 the places of the labelled items among all items, increasing.
        without_item: the tasks that have labels but no item.
        without_label: the ids of the items without labels.
        unused_classes: the classes without labels.
    """

    crowd: CrowdLabels
    places: NDArray[np.int64]
    without_item: NDArray[Any]
    without_label: NDArray[Any]
    unused_classes: NDArray[Any]

    def notes(self) -> list[str]:
        """Return what the user should know before the training, one line per fact."""
        found = {
            "tasks with labels but no item, left out": self.without_item,
            "items without a label, not trained on": self.without_label,
            "classes without any item, never learned": self.unused_classes,
        }
        return [f"{what}: {some(names)}" for what, names in found.items() if len(names)]


def match_crowd(crowd: CrowdLabels, items: Items) -> Matched:
    """Match the tasks of a crowd with items.

    Raises:
        ValueError: no task is among the items, or all labels name the same class.
    """
    known = crowd.labels_per_item > 0
    if crowd.gold is not None:
        known |= crowd.gold >= 0
    tasks = item_names(crowd)[known]
    at = find_items(items, tasks)
    if (at < 0).all():
        raise ValueError(
            f"none of the {len(tasks):,} tasks with labels is among the {len(items):,} items of {items.source}: "
            f"{tasks[0]} there, {items.ids[0]} here"
        )
    places = np.unique(at[at >= 0])
    row = np.full(crowd.n_items, -1, np.int64)
    row[np.flatnonzero(known)[at >= 0]] = np.searchsorted(places, at[at >= 0])
    kept = row[crowd.item] >= 0
    gold = None
    if crowd.gold is not None:
        gold = np.full(len(places), -1, np.int64)
        gold[row[row >= 0]] = crowd.gold[row >= 0]
    matched = replace(
        crowd, item=row[crowd.item[kept]], worker=crowd.worker[kept], label=crowd.label[kept],
        n_items=len(places), item_ids=items.ids[places], repeats="keep", gold=gold,
    )  # fmt: skip
    given = np.bincount(matched.label, minlength=crowd.n_classes)
    if (given > 0).sum() < 2:
        only = class_names(crowd)[given.argmax()]
        raise ValueError(f"every label is {only}, one class only; a network learns to tell at least two classes apart")
    unlabelled = np.ones(len(items), bool)
    unlabelled[places] = False
    return Matched(matched, places, tasks[at < 0], items.ids[unlabelled], class_names(crowd)[given == 0])


def match_labels(labels: pd.Series, items: Items, classes: NDArray[Any]) -> tuple[NDArray[np.int64], list[str]]:
    """Match true labels, indexed by task, with test items.

    Returns:
        (n_items,) int64 true classes: -1 for an item without a label, n_classes for a label that is not in `classes`;
        and what the user should know, one line per fact.

    Raises:
        ValueError: no item has a label that is in `classes`.
    """
    at = find_items(items, labels.index.to_numpy())
    found = lookup(classes, labels.to_numpy())
    truth = np.full(len(items), -1, np.int64)
    truth[at[at >= 0]] = np.where(found < 0, len(classes), found)[at >= 0]
    if not ((truth >= 0) & (truth < len(classes))).any():
        raise ValueError(
            f"none of the {len(items):,} test items of {items.source} has a test label among the classes "
            f"{', '.join(map(str, classes[:8]))}"
        )
    notes = []
    if (at < 0).any():
        notes.append(f"test labels without an item, left out: {some(labels.index.to_numpy()[at < 0])}")
    if (truth < 0).any():
        notes.append(f"test items without a label, left out: {some(items.ids[truth < 0])}")
    n_foreign = int((truth == len(classes)).sum())
    if n_foreign:
        names = pd.unique(labels.to_numpy()[(found < 0) & (at >= 0)])
        notes.append(
            f"test classes that nobody gave in training: {some(names)}; their {n_foreign:,} items count as wrong"
        )
    return truth, notes


def fingerprint(crowd: CrowdLabels) -> str:
    """Return 16 hexadecimal digits that change when the annotations, the gold labels or the histories change."""
    names = [item_names(crowd), worker_names(crowd), class_names(crowd)]
    texts = (str(name) for part in names for name in part)
    return digest(*texts, crowd.item, crowd.worker, crowd.label, crowd.gold, crowd.history)


def find_items(items: Items, tasks: NDArray[Any]) -> NDArray[np.int64]:
    """Return (n_tasks,) the place of each task among the items, or -1; a task may lack the suffix of its image file."""
    at = lookup(items.ids, tasks)
    if items.paths and (at < 0).any():
        at[at < 0] = lookup(_stems(items.ids), _stems(tasks[at < 0]))
    return at


def _stems(names: NDArray[Any]) -> NDArray[Any]:
    paths = [PurePosixPath(str(name)) for name in names]
    return np.array([str(path.with_suffix("") if path.suffix.lower() in SUFFIXES else path) for path in paths])
