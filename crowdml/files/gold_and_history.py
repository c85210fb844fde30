"""Match known labels and earlier answers to a crowd by name."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from crowdml.labels import CrowdLabels
from crowdml.support.look_alikes import near_misses
from crowdml.support.memory import check_memory
from crowdml.support.value_text import lookup, some_values, text_of

HISTORY_COLUMNS = ("worker", "truth", "label", "count")


logger = logging.getLogger(__name__)


class RowError(ValueError):
    """A row of a table of known labels, earlier answers or priors does not fit the crowd; `row` counts from 0."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(row, message)
        self.row, self.message = row, message

    def __str__(self) -> str:
        return self.message


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
    known = _matched(crowd, labels)
    is_foreign = known.label == crowd.n_classes
    if is_foreign.any():
        row = int(known.row[is_foreign][0])
        raise RowError(
            row,
            f"gold labels {known.foreign} are not among the classes "
            f"{some_values(class_names(crowd), 12)}; "
            "pass the names of all classes if the crowd does not use every class",
        )
    return replace(crowd, gold=known.of_items(crowd), repeats="keep")


def true_classes(crowd: CrowdLabels, labels: pd.Series, source: str = "the true labels") -> NDArray[np.int64]:
    """Return the (n_items,) class of each item, from labels with item ids as index.

    The class is -1 for an item without a label.  It is n_classes for an item whose label is not a class of the crowd;
    a warning in the log counts and names such labels.

    Args:
        crowd: the crowd.
        labels: true labels, with item ids as index.  Labels of items that are not in the crowd are ignored.
        source: where the labels come from, for messages.

    Raises:
        ValueError: `labels` has no item of the crowd, has an item twice, or has no label that is a class of the crowd.
    """
    known = _matched(crowd, labels, source)
    is_foreign = known.label == crowd.n_classes
    if is_foreign.all():
        raise ValueError(
            f"{source}: none of the {len(known.row):,} true labels is a class of the crowd: "
            f"the labels are {known.foreign}, the classes {some_values(class_names(crowd), 12)}"
        )
    if is_foreign.any():
        logger.warning(
            "%s: %s of %s true labels are no class of the crowd and count as wrong: %s; "
            "if they are classes that no worker gave, name all classes",
            source, f"{is_foreign.sum():,}", f"{len(known.row):,}", known.foreign,
        )  # fmt: skip
    return known.of_items(crowd)


class _Matched(NamedTuple):
    """Known labels of items of the crowd: the row of each label, its item, and its class or n_classes.

    `foreign` names the labels that are no class.
    """

    row: NDArray[np.int64]
    item: NDArray[np.int64]
    label: NDArray[np.int64]
    foreign: str

    def of_items(self, crowd: CrowdLabels) -> NDArray[np.int64]:
        """Return the (n_items,) class of each item, -1 without a known label."""
        known = np.full(crowd.n_items, -1, np.int64)
        known[self.item] = self.label
        return known


def _matched(crowd: CrowdLabels, labels: pd.Series, source: str = "the known labels") -> _Matched:
    empty = labels.isna().to_numpy() | labels.index.isna()
    if empty.any():
        raise RowError(int(empty.argmax()), f"{source}: {int(empty.sum())} tasks or labels are empty; drop those rows")
    at = lookup(item_names(crowd), labels.index)
    here = np.flatnonzero(at >= 0)
    is_twice = pd.Series(at[here]).duplicated().to_numpy()
    if is_twice.any() or not labels.index.is_unique:
        row = int(here[is_twice][0] if is_twice.any() else labels.index.duplicated().argmax())
        raise RowError(row, f"{source} have task {text_of(labels.index[row])} more than once")
    near = near_misses(labels.index[at < 0], item_names(crowd))
    if not len(here):
        raise ValueError(
            f"{source}: none of the {len(labels)} tasks with a known label is in the crowd: "
            f"the labels have {text_of(labels.index[0]) if len(labels) else 'no task'}, "
            f"the crowd has {text_of(item_names(crowd)[0])}{_in_brackets(near)}"
        )
    if near:
        logger.warning("%s: some tasks are not in the crowd: %s", source, near)
    given = labels.to_numpy()[here]
    found = lookup(class_names(crowd), given)
    foreign = pd.unique(given[found < 0])
    named = some_values(foreign) + _in_brackets(near_misses(foreign, class_names(crowd)))
    return _Matched(here, at[here], np.where(found < 0, crowd.n_classes, found), named)


def _in_brackets(hint: str) -> str:
    return f" ({hint})" if hint else ""


def with_history(crowd: CrowdLabels, counts: pd.DataFrame) -> CrowdLabels:
    """Return the crowd with earlier answers of its workers.

    `counts` has the columns worker, truth, label and count, see `crowdml.files.frames.confusion_frame`.  Counts of the
    same worker, truth and label are added up.  Workers who are not in the crowd are ignored.

    Raises:
        ValueError: a column is missing or has empty values, a class is not a class of the crowd, or a count is negative
            or not finite.
    """
    for name in HISTORY_COLUMNS:
        if name not in counts:
            raise ValueError(f"the history of workers needs {', '.join(HISTORY_COLUMNS)}; column {name!r} is missing")
        if counts[name].isna().any():
            raise RowError(int(counts[name].isna().to_numpy().argmax()), f"history: column {name!r} has empty values")
    worker = lookup(worker_names(crowd), counts["worker"].to_numpy())
    cells = [lookup(class_names(crowd), counts[name].to_numpy()) for name in ("truth", "label")]
    for name, index in zip(("truth", "label"), cells, strict=True):
        if (index < 0).any():
            row = int(index.argmin())
            value = counts[name].iloc[row]
            hint = _in_brackets(near_misses([value], class_names(crowd)))
            raise RowError(row, f"history: {name} {text_of(value)} is not a class of the crowd{hint}")
    count = counts["count"].to_numpy(np.float64)
    is_bad = ~(np.isfinite(count) & (count >= 0))
    if is_bad.any():
        row = int(is_bad.argmax())
        raise RowError(row, f"history must hold finite counts of at least 0, got {count[row]}")
    history = np.zeros((crowd.n_workers, crowd.n_classes, crowd.n_classes))
    here = worker >= 0
    if near := near_misses(counts["worker"].to_numpy()[~here], worker_names(crowd)):
        logger.warning("history: some workers are not in the crowd: %s", near)
    np.add.at(history, (worker[here], cells[0][here], cells[1][here]), count[here])
    return replace(crowd, history=history, repeats="keep")


def shares_of_labels(crowd: CrowdLabels, labels: NDArray[Any], probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n_rows, n_classes) priors that give each label its probability, and the other classes equal shares.

    Raises:
        RowError: a label is not a class of the crowd, or a probability is not in [0, 1].
        TooLargeError: the priors do not fit into memory.
    """
    what = f"the prior of {len(labels):,} tasks x {crowd.n_classes:,} classes"
    check_memory(2 * 8 * len(labels) * crowd.n_classes, what, "leave out the prior")
    found = lookup(class_names(crowd), labels)
    if (found < 0).any():
        row = int(found.argmin())
        raise RowError(row, f"label {text_of(labels[row])} is not a class of the crowd")
    is_bad = ~((probability >= 0) & (probability <= 1))
    if is_bad.any():
        row = int(is_bad.argmax())
        raise RowError(row, f"a probability must be in [0, 1], got {text_of(probability[row])}")
    others = (1 - probability) / max(crowd.n_classes - 1, 1)
    shares = np.repeat(others[:, None], crowd.n_classes, axis=1)
    shares[np.arange(len(labels)), found] = probability
    return shares


def prior_of_items(crowd: CrowdLabels, tasks: ArrayLike, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (n_items, n_classes) prior of each item, from one row of `shares` per task.

    Raises:
        ValueError: a task occurs twice, a task of the crowd is missing, or a row is negative, not finite or all zeros.
    """
    names = np.asarray(tasks)
    at = lookup(item_names(crowd), names)
    is_bad = ~(np.isfinite(shares).all(axis=1) & (shares >= 0).all(axis=1) & (shares.sum(axis=1) > 0))
    is_bad &= at >= 0
    if is_bad.any():
        row = int(is_bad.argmax())
        raise RowError(
            row,
            f"the prior of task {text_of(names[row])} must be finite, not negative and not all zeros, "
            f"got {' '.join(map(text_of, shares[row]))}",
        )
    here = np.flatnonzero(at >= 0)
    is_twice = pd.Series(at[here]).duplicated().to_numpy()
    if is_twice.any():
        row = int(here[is_twice][0])
        raise RowError(row, f"task {text_of(names[row])} occurs more than once")
    is_there = np.zeros(crowd.n_items, bool)
    is_there[at[here]] = True
    if not is_there.all():
        missing = text_of(item_names(crowd)[int(is_there.argmin())])
        hint = _in_brackets(near_misses(names[at < 0], item_names(crowd)))
        raise ValueError(f"{int((~is_there).sum())} tasks have no prior, the first is {missing}{hint}")
    prior = np.empty((crowd.n_items, crowd.n_classes))
    prior[at[here]] = shares[here]
    return prior
