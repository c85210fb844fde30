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
from crowdml.training.folders.formats import SUFFIXES
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
        other_endings: what the user should know about tasks whose ending is not the ending of their image.
    """

    crowd: CrowdLabels
    places: NDArray[np.int64]
    without_item: NDArray[Any]
    without_label: NDArray[Any]
    unused_classes: NDArray[Any]
    other_endings: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """Return what the user should know before the training, one line per fact."""
        found = {
            "tasks with labels but no item, left out": self.without_item,
            "items without a label, not trained on": self.without_label,
            "classes without any item, never learned": self.unused_classes,
        }
        return [*self.other_endings, *(f"{what}: {some(names)}" for what, names in found.items() if len(names))]


def match_crowd(crowd: CrowdLabels, items: Items) -> Matched:
    """Match the tasks of a crowd with items.

    Raises:
        ValueError: no task is among the items, or all labels name the same class.
    """
    known = crowd.labels_per_item > 0
    if crowd.gold is not None:
        known |= crowd.gold >= 0
    tasks = item_names(crowd)[known]
    at, notes = find_items(items, tasks)
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
    unused = class_names(crowd)[given == 0]
    return Matched(matched, places, tasks[at < 0], items.ids[unlabelled], unused, tuple(notes))


def match_labels(labels: pd.Series, items: Items, classes: NDArray[Any]) -> tuple[NDArray[np.int64], list[str]]:
    """Match true labels, indexed by task, with test items.

    Returns:
        (n_items,) int64 true classes: -1 for an item without a label, n_classes for a label that is not in `classes`;
        and what the user should know, one line per fact.

    Raises:
        ValueError: no item has a label that is in `classes`.
    """
    at, notes = find_items(items, labels.index.to_numpy())
    found = lookup(classes, labels.to_numpy())
    truth = np.full(len(items), -1, np.int64)
    truth[at[at >= 0]] = np.where(found < 0, len(classes), found)[at >= 0]
    if not ((truth >= 0) & (truth < len(classes))).any():
        raise ValueError(
            f"none of the {len(items):,} test items of {items.source} has a test label among the classes "
            f"{', '.join(map(str, classes[:8]))}"
        )
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


def find_items(items: Items, tasks: NDArray[Any]) -> tuple[NDArray[np.int64], list[str]]:
    """Return (n_tasks,) the place of each task among the items, or -1; and what the user should know.

    The task of an image is its id, or the whole name of its file.  A task with another ending than the file, or without
    the ending, means the image if no other image and no other task has this name.
    """
    at = lookup(items.ids, tasks)
    if not items.paths or (at >= 0).all():
        return at, []
    names, stems = _file_names(items), _stems(items.ids)
    at = np.where(at < 0, lookup(names, tasks), at)
    missing = np.flatnonzero(at < 0)
    wanted = _stems(tasks[missing])
    alone, counts = np.unique(stems, return_counts=True)
    unshared = np.flatnonzero(np.isin(stems, alone[counts == 1]))
    candidate = np.append(unshared, -1)[lookup(stems[unshared], wanted)]
    # If several tasks could mean an image, the image belongs to none of them.
    n_tasks = np.bincount(np.append(candidate[candidate >= 0], at[at >= 0]), minlength=len(items))
    candidate[(candidate >= 0) & (n_tasks[candidate] > 1)] = -1
    at[missing] = candidate
    found, shared = candidate >= 0, np.isin(wanted, alone)
    renamed = [f"{task} is {names[place]}" for task, place in zip(tasks[missing][found], candidate[found], strict=True)]
    unclear = [str(task) for task in tasks[missing][~found & shared]]
    notes = []
    if renamed:
        notes.append(f"tasks whose image has another ending: {some(renamed)}")
    if unclear:
        notes.append(f"tasks that could mean several images, or an image of another task: {some(unclear)}")
    return at, notes


def _file_names(items: Items) -> NDArray[Any]:
    """Return (n_items,) the id of each image with the ending of its file."""
    pairs = zip(map(str, items.ids), items.paths, strict=True)
    return np.array([name if PurePosixPath(name).name == path.name else f"{name}{path.suffix}" for name, path in pairs])


def _stems(names: NDArray[Any]) -> NDArray[Any]:
    paths = [PurePosixPath(str(name)) for name in names]
    return np.array([str(path.with_suffix("") if path.suffix.lower() in SUFFIXES else path) for path in paths])
