"""Read the labels that a user passes to `CrowdClassifier.fit` as a crowd.  Unclear forms are refused."""

from __future__ import annotations

import warnings
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.multiclass import check_classification_targets

from crowdml.labels import CrowdLabels
from crowdml.training.user_data import one_label_each

_MOST_CLASSES = 1_000_000
"""Class numbers in an array (n_items, n_workers) must be below this number, because they run from 0."""


def given_crowd(y: CrowdLabels | pd.DataFrame | ArrayLike, n_items: int, index: pd.Index | None = None) -> CrowdLabels:
    """Return the labels as a crowd whose item ids are rows of X.

    Args:
        y: see `CrowdClassifier.fit`.
        n_items: number of rows of X.
        index: the index of X if X is a frame.

    Raises:
        ValueError: the labels have another form, or may be meant in two ways; the message says what to pass instead.
    """
    if y is None:
        raise ValueError("CrowdClassifier requires y to be passed, but the target y is None")
    if sp.issparse(y):
        raise ValueError("y is sparse; pass a dense array, such as y.toarray()")
    if isinstance(y, CrowdLabels):
        _check_length(y.n_items, n_items, "the crowd has {} items")
        return replace(y, item_ids=None, repeats="keep")
    if isinstance(y, pd.DataFrame) and ("task" in y or {"worker", "label"} <= set(y.columns)):
        return _from_frame(y, n_items)
    if isinstance(y, pd.Series | pd.DataFrame):
        _check_order(y.index, index)
    if isinstance(y, pd.Series) and isinstance(y.dtype, pd.CategoricalDtype) and y.dtype.ordered:
        _check_length(len(y), n_items)
        return _from_ordered(y)
    values, missing = _values(y)
    _check_length(len(values) if values.ndim else 0, n_items)
    if values.ndim == 2 and values.shape[1] == 1:
        if _is_number(values) and (values[~missing] == -1).any():
            raise ValueError("y has one column and holds -1; pass y.ravel() if -1 is a class, or NaN for no label")
        if not missing.any():
            warnings.warn(
                "A column-vector y was passed when a 1d array was expected; each row is taken as one label",
                DataConversionWarning, stacklevel=3,
            )  # fmt: skip
            values, missing = values[:, 0], missing[:, 0]
    if values.ndim == 1:
        return _one_each(values, missing)
    if values.ndim == 2:
        crowd = _from_matrix(values, missing)
        return replace(crowd, worker_ids=np.asarray(y.columns)) if isinstance(y, pd.DataFrame) else crowd
    raise ValueError(f"labels must be (n_items,) or (n_items, n_workers), got {values.shape}")


def _check_length(n_labels: int, n_items: int, says: str = "there are {} labels") -> None:
    if n_labels != n_items:
        raise ValueError(f"{says.format(n_labels)} and X has {n_items} rows")


def _check_order(labels: pd.Index, items: pd.Index | None) -> None:
    """Refuse labels with the index of X in another order, because they may be meant by position or by index."""
    if items is None or len(labels) != len(items) or labels.equals(items):
        return
    if labels.is_unique and items.is_unique and not len(items.difference(labels)):
        raise ValueError(
            "y has the index of X in another order; pass y.loc[X.index], or y.to_numpy() to keep the order"
        )


def _from_frame(frame: pd.DataFrame, n_items: int) -> CrowdLabels:
    crowd = CrowdLabels.from_frame(frame, repeats="keep")
    tasks = np.asarray(crowd.item_ids)
    if tasks.dtype == object and all(isinstance(task, int) for task in tasks):
        tasks = tasks.astype(np.int64)
    if not np.issubdtype(tasks.dtype, np.integer) or tasks.min() < 0 or tasks.max() >= n_items:
        given = f"{tasks[0]} to {tasks[-1]}"
        raise ValueError(f"column task must hold row numbers of X, whole and in [0, {n_items}); it holds {given}")
    return replace(crowd, item_ids=tasks, repeats="keep")


def _from_ordered(labels: pd.Series) -> CrowdLabels:
    """Return ordered categories, which keep their order."""
    if labels.isna().any():
        raise ValueError(f"label {int(labels.isna().to_numpy().argmax())} is empty")
    used = labels.cat.remove_unused_categories().cat
    return one_label_each(used.codes.to_numpy(), np.arange(len(labels)), np.asarray(used.categories))


def _values(y: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the labels as an array of numbers, bools or texts (object), and where they are missing."""
    hidden = np.ma.getmaskarray(y) if isinstance(y, np.ma.MaskedArray) else None
    # A tensor may need a gradient; NumPy would turn the numbers of a list that also holds texts into texts.
    values = np.asarray(_detached(y), object if isinstance(y, list | tuple) else None)
    missing = np.asarray(pd.isna(values), bool).reshape(values.shape)
    if hidden is not None:
        missing = missing | hidden
    if values.dtype.kind in "buif":
        return values, missing
    values = values.astype(object)
    known = values[~missing].tolist()
    if all(isinstance(value, bool | np.bool_) for value in known):
        kind: type = bool
    elif all(isinstance(value, Real) for value in known):
        kind = int if all(isinstance(value, int | np.integer) for value in known) and not missing.any() else float
    elif all(isinstance(value, str) for value in known):
        return values, missing
    else:
        shown = ", ".join(sorted({type(value).__name__ for value in known}))
        raise ValueError(f"labels must be all numbers, all texts or all bools; y holds {shown}")
    if kind is bool and missing.any():
        return values, missing
    numbers = np.full(values.shape, np.nan if kind is float else 0, kind)
    numbers[~missing] = known
    return numbers, missing


def _detached(values: Any) -> Any:
    return values.detach() if hasattr(values, "detach") else values


def _is_number(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "uif"


def _one_each(labels: NDArray[Any], missing: NDArray[np.bool_]) -> CrowdLabels:
    if missing.any():
        raise ValueError(f"label {int(missing.argmax())} is empty")
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise ValueError(f"label {int((~np.isfinite(labels)).argmax())} is infinite, not a class")
        check_classification_targets(labels)
    index, names = pd.factorize(labels, sort=True)
    return one_label_each(index, np.arange(len(labels)), np.asarray(names))


def _from_matrix(labels: NDArray[Any], missing: NDArray[np.bool_]) -> CrowdLabels:
    """Return the labels of an array (n_items, n_workers): class numbers, or texts or bools, which are sorted."""
    if missing.all():
        raise ValueError("y holds no label at all")
    if not _is_number(labels):
        index, names = pd.factorize(labels[~missing], sort=True)
        dense = np.full(labels.shape, -1, np.int64)
        dense[~missing] = index
        if labels.dtype == bool:
            _check_one_hot(dense)
        crowd = CrowdLabels.from_dense(dense, n_classes=len(names))
        return replace(crowd, class_names=np.asarray(names), repeats="keep")
    known = np.where(missing, -1, labels)
    odd = ~(np.isfinite(known) & (known == np.floor(known)) & (known < _MOST_CLASSES))
    if odd.any():
        row, column = np.argwhere(odd)[0]
        raise ValueError(
            f"the label in row {row}, column {column} of y is {known[row, column]}; labels of several workers must be "
            f"texts, or class numbers 0, 1, 2, ... below {_MOST_CLASSES:,}"
        )
    dense = known.astype(np.int64)
    if set(np.unique(dense)) == {-1, 1}:
        raise ValueError("y holds only 1 and -1, which stands for no label; number the classes from 0")
    _check_one_hot(dense)
    return CrowdLabels.from_dense(dense)


def _check_one_hot(dense: NDArray[np.int64]) -> None:
    n_items, n_columns = dense.shape
    one_hot = dense.min() == 0 and dense.max() == 1 and (dense.sum(axis=1) == 1).all()
    if one_hot and n_items > n_columns > 1 and (dense.sum(axis=0) > 0).all():
        raise ValueError("y is one-hot, with one 1 per row; pass one class per row: y.argmax(axis=1)")
