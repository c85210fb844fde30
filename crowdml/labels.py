"""CrowdLabels: which worker gave which label to which item.  All parts of crowdml use this one data structure."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from crowdml.support.distinct_texts import sorted_texts
from crowdml.support.look_alikes import cleaned, warn_of_case, warn_of_look_alikes
from crowdml.support.value_text import (
    NOT_A_VALUE,
    are_numbers,
    as_whole,
    lookup,
    number_order,
    some_values,
    texts,
    typed,
)

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
Repeats = Literal["error", "first", "last", "keep"]

logger = logging.getLogger(__name__)


class ByItem(NamedTuple):
    """The annotations, sorted by item.  The annotations of item i are at positions start[i] to start[i + 1] - 1.

    Attributes:
        start: (n_items + 1,) int64.
        worker, label: (n_annotations,) int32.
    """

    start: NDArray[np.int64]
    worker: NDArray[np.integer]
    label: NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class CrowdLabels:
    """The annotations of a crowd, stored sparsely: one entry per label that a worker gave.

    Args:
        item, worker: (n_annotations,) indices of the item and the worker of each annotation.
        label: (n_annotations,) index of the class that the worker gave.
        n_items, n_workers, n_classes: the numbers, including items and workers without labels.  Indices start at 0.
        item_ids, worker_ids, class_names: the caller's names, in index order.  None means 0, 1, 2, ...
        repeats: what to do if a worker labelled an item more than once.  "error" (the default) raises an error, "first"
            keeps the first label, "last" keeps the last label, "keep" keeps all labels.
        gold: (n_items,) the known class of each item, -1 where it is unknown.  None means that no class is known.
        history: (n_workers, n_classes, n_classes) earlier answers of each worker, as counts or pseudo-counts.  Entry
            [w, c, l] says how often worker w gave label l to an item of class c.  None means no earlier answers.
        is_ordered: whether the order of the classes has a meaning.  It has none if the classes are text in the order of
            the alphabet; methods for ordered classes then warn.

    Raises:
        ValueError: the crowd has no annotations; the columns differ in length; an index is out of range; a worker
            labelled an item twice; two classes have one text form; `gold` or `history` has a wrong shape or range.
    """

    item: NDArray[np.integer]
    worker: NDArray[np.integer]
    label: NDArray[np.integer]
    n_items: int
    n_workers: int
    n_classes: int
    item_ids: NDArray[Any] | None = None
    worker_ids: NDArray[Any] | None = None
    class_names: NDArray[Any] | None = None
    repeats: Repeats = field(default="error", repr=False)
    gold: NDArray[np.integer] | None = field(default=None, kw_only=True)
    history: Array | None = field(default=None, kw_only=True)
    is_ordered: bool = field(default=True, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        columns = {name: _index_array(name, getattr(self, name)) for name in ("item", "worker", "label")}
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"item, worker and label must have one length, got {lengths}")
        if lengths["item"] == 0:
            raise ValueError("a crowd needs at least one annotation, got none")
        for name, size_name in (("item", "n_items"), ("worker", "n_workers"), ("label", "n_classes")):
            _check_range(name, columns[name], size_name, getattr(self, size_name))
        for name, size in (("item_ids", self.n_items), ("worker_ids", self.n_workers), ("class_names", self.n_classes)):
            names = getattr(self, name)
            if names is not None and len(names) != size:
                raise ValueError(f"{name} must have length {size}, got {len(names)}")
        if self.class_names is not None:
            _refuse_one_text(self.class_names)
        if self.repeats not in get_args(Repeats):
            raise ValueError(f'repeats must be "error", "first", "last" or "keep", got {self.repeats!r}')
        if self.repeats != "keep":
            columns = self._without_repeats(columns)
        for name, values in columns.items():
            values.setflags(write=False)
            object.__setattr__(self, name, values)
        self._check_known()

    def _check_known(self) -> None:
        if self.gold is not None:
            gold = np.asarray(self.gold)
            if gold.shape != (self.n_items,) or not np.issubdtype(gold.dtype, np.integer):
                raise ValueError(f"gold must be integers of shape ({self.n_items},), got {gold.dtype} {gold.shape}")
            if gold.min() < -1 or gold.max() >= self.n_classes:
                raise ValueError(
                    f"gold must be in [0, {self.n_classes}), or -1 for unknown, got {gold.min()} to {gold.max()}"
                )
        if self.history is not None:
            shape = (self.n_workers, self.n_classes, self.n_classes)
            history = np.asarray(self.history, dtype=np.float64)
            if history.shape != shape or not (np.isfinite(history) & (history >= 0)).all():
                raise ValueError(f"history must hold finite counts of at least 0 in shape {shape}, got {history.shape}")
            object.__setattr__(self, "history", history)

    def _without_repeats(self, columns: dict[str, NDArray[np.int32]]) -> dict[str, NDArray[np.int32]]:
        pair = columns["item"].astype(np.int64) * self.n_workers + columns["worker"]
        in_order = np.sort(pair)
        if (in_order[1:] != in_order[:-1]).all():
            return columns
        if self.repeats == "last":
            kept = len(pair) - 1 - np.unique(pair[::-1], return_index=True)[1]
        else:
            kept = np.unique(pair, return_index=True)[1]
        if self.repeats == "error":
            repeated = np.ones(len(pair), bool)
            repeated[kept] = False
            at = int(np.flatnonzero(repeated)[0])
            item, worker = int(columns["item"][at]), int(columns["worker"][at])
            raise ValueError(
                f"worker {_names(self.worker_ids, worker)} labelled item {_names(self.item_ids, item)} more than once "
                f'({int(repeated.sum())} repeated annotations in all); pass repeats="first", "last" or "keep"'
            )
        kept.sort()
        return {name: values[kept] for name, values in columns.items()}

    @property
    def n_annotations(self) -> int:
        """Number of annotations."""
        return len(self.item)

    @cached_property
    def by_item(self) -> ByItem:
        """The annotations sorted by item, where the annotations of one item keep their order."""
        start = np.zeros(self.n_items + 1, np.int64)
        np.cumsum(self.labels_per_item, out=start[1:])
        if (self.item[1:] >= self.item[:-1]).all():
            return ByItem(start, self.worker, self.label)
        by_item = sp.coo_array((self.label, (self.item, self.worker)), shape=(self.n_items, self.n_workers))
        by_item.has_canonical_format = True  # keeps repeats, and keeps the order within an item
        rows = by_item.tocsr()
        worker, label = rows.indices.astype(np.int32, copy=False), rows.data
        worker.setflags(write=False)  # like the columns, so that one compiled kernel serves both cases
        label.setflags(write=False)
        return ByItem(start, worker, label)

    @cached_property
    def answers(self) -> NDArray[np.integer]:
        """(n_annotations,) worker * n_classes + label of each annotation, in the order of `by_item`."""
        wide = np.int32 if self.n_workers * self.n_classes <= np.iinfo(np.int32).max else np.int64
        answers = np.multiply(self.by_item.worker, self.n_classes, dtype=wide)
        answers += self.by_item.label
        return answers

    @cached_property
    def labels_given(self) -> NDArray[np.int64]:
        """(n_workers, n_classes) how often each worker gave each label."""
        counts = np.bincount(self.answers, minlength=self.n_workers * self.n_classes)
        return counts.reshape(self.n_workers, self.n_classes)

    @cached_property
    def indicator(self) -> sp.csr_array:
        """(n_items, n_workers * n_classes) how often worker w gave item i label l, in column w * n_classes + l."""
        shape = (self.n_items, self.n_workers * self.n_classes)
        return sp.csr_array((np.ones(self.n_annotations), self.answers, self.by_item.start), shape=shape)

    @cached_property
    def votes(self) -> Array:
        """(n_items, n_classes) number of votes per item and class."""
        cell = self.item.astype(np.int64) * self.n_classes + self.label
        counts = np.bincount(cell, minlength=self.n_items * self.n_classes)
        return counts.reshape(self.n_items, self.n_classes).astype(np.float64)

    @cached_property
    def labels_per_item(self) -> NDArray[np.int64]:
        """(n_items,) number of annotations per item."""
        return np.bincount(self.item, minlength=self.n_items)

    @cached_property
    def labels_per_worker(self) -> NDArray[np.int64]:
        """(n_workers,) number of annotations per worker."""
        return np.bincount(self.worker, minlength=self.n_workers)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        task: str = "task",
        worker: str = "worker",
        label: str = "label",
        class_names: Sequence[Any] | None = None,
        repeats: Repeats = "error",
        strip: bool = False,
        skip_empty: bool = False,
    ) -> CrowdLabels:
        """Return the crowd of a frame with one row per annotation.

        Ids and labels may have any type.  A column that mixes text with other types becomes text.  Ids and classes are
        numbered in sorted order: numbers by value, also numbers that are written as text, and ordered categories in
        their own order.  A warning in the log names texts that differ only by blanks or invisible characters.

        Args:
            frame: the annotations.
            task, worker, label: the names of the columns; blanks around the names in the frame do not matter.
            class_names: all classes, in order.  By default the classes that occur, sorted.
            repeats: see the class.
            strip: remove outer blanks and invisible characters from text, and use single blanks and Unicode form NFC.
            skip_empty: leave out rows without a label, instead of raising an error.

        Raises:
            ValueError: a column is missing or has empty values, the frame is empty, a label is not in `class_names`, or
                two values of different types have one text form, such as 1 and "1".
        """
        import pandas as pd  # imported here, because a grid needs the class and no frame

        task, worker, label = (_column_name(frame, name) for name in (task, worker, label))
        if skip_empty:
            frame = frame[~_is_empty(frame[label])]
        for column in (task, worker, label):
            n_empty = int(frame[column].isna().sum())
            if n_empty:
                raise _empty_values(column, n_empty, is_label=column == label)
        if frame.empty:
            raise ValueError("a crowd needs at least one annotation, got an empty frame")
        item, who = (_numbered(frame[column], strip=strip, by_number=False) for column in (task, worker))
        given = _numbered(frame[label], strip=strip, by_number=True)
        for name, column in ((task, item), (worker, who), (label, given)):
            if column.values.dtype != object or not isinstance(column.values[0], str):
                continue
            if not column.is_plain:
                if _blank(column.values).any():
                    raise _empty_values(name, int(_is_empty(frame[name]).sum()), is_label=name == label)
                warn_of_look_alikes("the frame", name, column.values)
            if name == label:
                warn_of_case("the frame", name, column.values)
        label_index, names, is_ordered = given.codes, given.values, given.is_ordered
        if class_names is not None:
            if strip:
                class_names = [cleaned(name) if isinstance(name, str) else name for name in class_names]
            names, is_ordered = np.asarray(pd.Index(class_names)), True
            place = lookup(names, given.values)
            if (place < 0).any():
                unknown = given.values[place < 0][:5].tolist()
                raise ValueError(f"labels {unknown} are not among class_names {names.tolist()}")
            label_index = place[given.codes]
        sizes = len(item.values), len(who.values), len(names)
        ids = item.values, who.values, names
        return cls(item.codes, who.codes, label_index, *sizes, *ids, repeats, is_ordered=is_ordered)

    def warn_if_unordered(self, what: str) -> None:
        """Warn in the log, once, if `what` uses the order of the classes and nobody gave an order."""
        if not self.is_ordered and self.n_classes > 2:
            _warn_unordered(
                what, some_values(range(self.n_classes) if self.class_names is None else self.class_names, 8)
            )

    def to_frame(self) -> pd.DataFrame:
        """Return a frame with one row per annotation: `task`, `worker` and `label`, with the caller's names."""
        import pandas as pd

        columns = {"task": _names(self.item_ids, self.item), "worker": _names(self.worker_ids, self.worker)}
        return pd.DataFrame(columns | {"label": _names(self.class_names, self.label)})

    @classmethod
    def from_dense(cls, labels: ArrayLike, *, n_classes: int | None = None) -> CrowdLabels:
        """Return the crowd of an integer array (n_items, n_workers) of labels, where -1 means no label.

        By default, the number of classes is the largest label plus one.

        Raises:
            ValueError: the array has another shape or type, a label below -1, or no label at all.
        """
        dense = np.asarray(labels)
        if dense.ndim != 2 or not np.issubdtype(dense.dtype, np.integer):
            raise ValueError(f"labels must be an integer (n_items, n_workers) array, got {dense.dtype} {dense.shape}")
        if dense.size and dense.min() < -1:
            raise ValueError(f"labels must be at least 0, or -1 for no label, got {dense.min()}")
        item, worker = np.nonzero(dense >= 0)
        label = dense[item, worker]
        if n_classes is None:
            n_classes = int(label.max()) + 1 if len(label) else 1
        # A dense array cannot hold repeats, so do not spend time on a search for them.
        return cls(item, worker, label, dense.shape[0], dense.shape[1], n_classes, repeats="keep")

    def to_dense(self) -> NDArray[np.int32]:
        """Return (n_items, n_workers) labels, -1 where a worker gave none.  Of repeated labels, keep the first."""
        dense = np.full((self.n_items, self.n_workers), -1, np.int32)
        # The last assignment to a cell wins, so assign in reverse order.  Copy, because numpy may reverse a view again.
        item, worker, label = (column[::-1].copy() for column in (self.item, self.worker, self.label))
        dense[item, worker] = label
        return dense

    def select(self, mask: NDArray[np.bool_]) -> CrowdLabels:
        """Return the annotations where mask (n_annotations,) is True.  Items, workers and classes keep their index."""
        return replace(self, item=self.item[mask], worker=self.worker[mask], label=self.label[mask], repeats="keep")


@lru_cache(maxsize=256)  # a method that fits many parts of a crowd warns once
def _warn_unordered(what: str, names: str) -> None:
    logger.warning(
        "%s uses the order of the classes, but nobody gave an order: they are in the order of the alphabet (%s); "
        "give the classes in their order (--classes, in Python class_names)",
        what, names,
    )  # fmt: skip


class _Column(NamedTuple):
    """A column of a frame.

    Attributes:
        codes: (n_rows,) the code of each row.
        values: the distinct values in order.
        is_ordered: whether the order of the values has a meaning.
        is_plain: True if it is certain that no value is blank or looks like another value.
    """

    codes: NDArray[np.integer]
    values: NDArray[Any]
    is_ordered: bool
    is_plain: bool


def _column_name(frame: pd.DataFrame, name: str) -> Any:
    """Return the name of a column as the frame has it, possibly with blanks around it."""
    found = [name] if name in frame else [other for other in frame if str(other).strip() == name.strip()]
    if not found:
        raise ValueError(f"column {name!r} is missing; the frame has {list(frame.columns)}")
    if len(found) > 1 or getattr(frame[found[0]], "ndim", 1) > 1:
        raise ValueError(f"column {name!r} occurs more than once; the frame has {list(frame.columns)}")
    return found[0]


def _blank(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which values are text that stands for a missing value."""
    return np.array([isinstance(value, str) and value.strip() in NOT_A_VALUE for value in values], bool)


def _is_empty(column: pd.Series) -> NDArray[np.bool_]:
    """Return (n_rows,) whether each value is missing or blank."""
    import pandas as pd

    codes, distinct = pd.factorize(column)
    return np.append(_blank(np.asarray(distinct, object)), True)[codes]


def _empty_values(column: str, n_empty: int, *, is_label: bool) -> ValueError:
    hint = " or skip them with skip_empty=True" if is_label else ""
    return ValueError(f"column {column!r} has {n_empty} empty values; drop those rows{hint}")


def _numbered(column: pd.Series, *, strip: bool, by_number: bool) -> _Column:
    """Number the distinct values of a column without empty values, see `CrowdLabels.from_frame`."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, used = pd.factorize(column.cat.codes, sort=True)
        categories = _numbered(pd.Series(column.cat.categories[used]), strip=strip, by_number=by_number)
        if column.cat.ordered and len(categories.values) == len(used):
            return _Column(codes, categories.values[categories.codes], True, categories.is_plain)
        return categories._replace(codes=categories.codes[codes])
    if column.dtype == np.float16:  # pandas would number the values in single precision, where 0.1 is another number
        column = pd.Series([float(str(value)) for value in column.to_numpy()], column.index)
    if column.dtype == object:
        column = _one_type(column)
    if isinstance(column.iloc[0], str):
        codes, distinct = pd.factorize(column)
        if strip:
            again, distinct = pd.factorize(np.fromiter(map(cleaned, distinct), object, len(distinct)))
            codes = again[codes]
        rank, values, is_plain = sorted_texts(distinct)
        codes = rank[codes]
    else:
        codes, distinct = pd.factorize(column, sort=True)
        values, is_plain = _without_objects(np.asarray(distinct)), True
    is_numeric = values.dtype.kind in "biuf" or (by_number and are_numbers(values))
    if is_numeric and values.dtype == object:
        order = number_order(values)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        codes, values = rank[codes], values[order]
    return _Column(codes, values, is_numeric, is_plain)


def _one_type(column: pd.Series) -> pd.Series:
    """Return a column of Python objects with one type; a mixture of text and other types becomes text.

    Raises:
        ValueError: two values of different types have one text form.
    """
    import pandas as pd

    kind = pd.api.types.infer_dtype(column, skipna=False)
    given = column.to_numpy()
    if kind in ("string", "bytes", "decimal", "floating", "integer", "boolean"):
        return column
    if kind in ("datetime", "date", "time") and len({_kind_of_time(value) for value in given}) == 1:
        return column
    words = texts(given)
    first: dict[str, Any] = {}
    for value, word in zip(given, words, strict=True):
        other = first.setdefault(word, value)
        if isinstance(other, str) != isinstance(value, str) or isinstance(other, bool) != isinstance(value, bool):
            raise ValueError(
                f"column {column.name!r} has {other!r} and {value!r}, which have the same text; use one type"
            )
    all_numbers = not any(isinstance(value, str | bytes) for value in first.values()) and are_numbers(given)
    words = typed(words.tolist()) if all_numbers else words
    return pd.Series(words, index=column.index, name=column.name)


def _kind_of_time(value: Any) -> tuple[bool, bool]:
    """Return whether a value has a time of day, and a time zone.  Only values that agree in both are comparable."""
    return isinstance(value, datetime), getattr(value, "tzinfo", None) is not None


def _without_objects(values: NDArray[Any]) -> NDArray[Any]:
    """Return Python numbers and truth values as an array of their type, if one type holds them exactly."""
    if values.dtype != object or isinstance(values[0], str):
        return values
    if all(isinstance(value, bool | np.bool_) for value in values):
        return values.astype(bool)
    if all(isinstance(value, int | np.integer) for value in values):
        whole = as_whole(values.tolist())
        return values if whole is None else whole
    return values.astype(np.float64) if all(isinstance(value, float | np.floating) for value in values) else values


def _refuse_one_text(names: NDArray[Any]) -> None:
    """Raise ValueError if two classes have one text form, because files and messages could not tell them apart."""
    array = np.asarray(names)
    words = array.tolist() if array.dtype.kind in "iuU" else texts(array).tolist()
    if len(set(words)) == len(words):
        return
    first: dict[Any, Any] = {}
    for name, word in zip(array.tolist(), words, strict=True):
        if word in first:
            raise ValueError(f"classes {first[word]!r} and {name!r} have the same text; the classes must differ")
        first[word] = name


def _index_array(name: str, values: ArrayLike) -> NDArray[np.int32]:
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got shape {array.shape}")
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must hold integers, got {array.dtype}")
    if array.size and array.max() > np.iinfo(np.int32).max:
        raise ValueError(f"{name} must be below 2**31, got {array.max()}")
    return np.array(array, dtype=np.int32)


def _check_range(name: str, values: NDArray[np.int32], size_name: str, size: int) -> None:
    if values.min() < 0:
        raise ValueError(f"{name} must not be negative, got {values.min()} at position {int(values.argmin())}")
    if values.max() >= size:
        raise ValueError(
            f"{name} must be below {size_name} = {size}, got {values.max()} at position {int(values.argmax())}"
        )


def _names(names: NDArray[Any] | None, index: Any) -> Any:
    return index if names is None else names[index]
