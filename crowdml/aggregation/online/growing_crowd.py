"""An append-only crowd with fast lookup by item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from crowdml.aggregation.aggregator import refuse
from crowdml.aggregation.online.online_state import Numbering, Rows, plain
from crowdml.labels import CrowdLabels, Repeats

COLUMNS = ("item", "worker", "label", "before", "last", "gold")


class CrowdPart(NamedTuple):
    """Some items with some of their annotations, as a crowd with new numbers for items and workers.

    Attributes:
        crowd: the annotations, in the order in which they arrived.
        items, workers: (n_items,) and (n_workers,) their numbers in the growing crowd, ascending.
    """

    crowd: CrowdLabels
    items: NDArray[np.int64]
    workers: NDArray[np.int64]


class GrowingCrowd:
    """Annotations in the order in which they arrived, with numbers for items, workers and classes.

    Args:
        class_names: all classes, strings or whole numbers, in order.
        repeats: what to do if a worker labels an item more than once: "error" raises an error, "first" keeps the first
            label, "keep" keeps all labels.
    """

    def __init__(self, class_names: Sequence[int | str], repeats: Repeats) -> None:
        if repeats not in ("error", "first", "keep"):
            raise ValueError(f'repeats must be "error", "first" or "keep", got {repeats!r}')
        if len(class_names) < 2:
            raise ValueError(f"class_names must hold at least 2 classes, got {len(class_names)}")
        self.repeats: Repeats = repeats
        self.classes, self.items, self.workers = Numbering("class"), Numbering("item"), Numbering("worker")
        names = plain(class_names)
        self.classes.number(names)
        self.classes.add(names)
        # One row per annotation.  `before` is the previous annotation of the same item, -1 for the first.
        self.item, self.worker, self.label, self.before = (Rows((), np.int32) for _ in range(4))
        # One row per item: its last annotation, and its known class.
        self.last, self.gold = Rows((), np.int32, fill=-1), Rows((), np.int32, fill=-1)

    def add(self, annotations: CrowdLabels | pd.DataFrame) -> tuple[CrowdPart | None, NDArray[np.int64]]:
        """Add annotations, and gold labels of items with annotations.  Other items and workers are not added.

        Args:
            annotations: a frame `task, worker, label`, or a crowd.  A crowd without ids has the ids 0, 1, 2, ...

        Returns:
            The added annotations, or None if all were repeats; and the numbers of the changed items, ascending.  An
            item changes if it gets annotations or another gold label.

        Raises:
            ValueError: a class is unknown, an id is neither a string nor a whole number, a repeat is not allowed, or
                the crowd has worker histories.  Nothing is added then.
        """
        crowd = annotations
        if not isinstance(crowd, CrowdLabels):
            crowd = CrowdLabels.from_frame(crowd, class_names=self.classes.names, repeats="keep")
        refuse(crowd, "an online method", history=False)
        item_ids, worker_ids = _ids(crowd.item_ids, crowd.n_items), _ids(crowd.worker_ids, crowd.n_workers)
        label = self._class_numbers(crowd)[crowd.label]
        item_number, new_items = _number(self.items, item_ids, crowd.labels_per_item > 0)
        worker_number, new_workers = _number(self.workers, worker_ids, crowd.labels_per_worker > 0)
        item, worker = item_number[crowd.item], worker_number[crowd.worker]
        kept = self._check_repeats(item, worker, crowd)

        first = len(self.item)
        self.items.add(new_items)
        self.workers.add(new_workers)
        for rows, values in ((self.item, item), (self.worker, worker), (self.label, label)):
            rows.append(values[kept])
        self.before.grow(len(self.item))
        for rows in (self.last, self.gold):
            rows.grow(len(self.items))
        _link(self.item.values, self.before.values, self.last.values, first)
        known = self._add_gold(crowd, item_ids)
        if not kept.any():
            return None, known
        added = self._part(np.unique(item[kept]), np.arange(first, len(self.item)))
        return added, np.union1d(added.items, known)

    def part(self, items: NDArray[np.int64]) -> CrowdPart:
        """Return the items with these ascending numbers and all their annotations.

        The time grows with the number of these annotations.
        """
        return self._part(items, _gather(items, self.before.values, self.last.values))

    def whole(self) -> CrowdLabels:
        """Return all annotations, with the ids of items and workers."""
        gold = self.gold.values
        gold = gold.copy() if (gold >= 0).any() else None
        sizes = len(self.items), len(self.workers), len(self.classes)
        items, workers, classes = (np.array(of.names, dtype=object) for of in (self.items, self.workers, self.classes))
        columns = self.item.values, self.worker.values, self.label.values
        return CrowdLabels(*columns, *sizes, items, workers, classes, repeats="keep", gold=gold)

    def _part(self, items: NDArray[np.int64], at: NDArray[np.int64]) -> CrowdPart:
        workers, worker = np.unique(self.worker.values[at], return_inverse=True)
        gold = self.gold.values[items] if (self.gold.values[items] >= 0).any() else None
        item, label = np.searchsorted(items, self.item.values[at]), self.label.values[at]
        sizes = len(items), len(workers), len(self.classes)
        return CrowdPart(CrowdLabels(item, worker, label, *sizes, repeats="keep", gold=gold), items, workers)

    def _class_numbers(self, crowd: CrowdLabels) -> NDArray[np.int64]:
        """Return the (crowd.n_classes,) number of each class of the crowd."""
        names = _ids(crowd.class_names, crowd.n_classes)
        numbers = self.classes.find(names)
        if (numbers < 0).any():
            unknown = [name for name, number in zip(names, numbers, strict=True) if number < 0]
            raise ValueError(f"classes {unknown[:5]} are not among class_names {self.classes.names}")
        return numbers

    def _check_repeats(
        self, item: NDArray[np.int64], worker: NDArray[np.int64], crowd: CrowdLabels
    ) -> NDArray[np.bool_]:
        """Return (n,) True for the annotations to add."""
        if self.repeats == "keep":
            return np.ones(len(item), bool)
        items = np.unique(item)
        earlier = _gather(items[items < len(self.items)], self.before.values, self.last.values)
        width = int(max(worker.max(), self.worker.values.max(initial=0))) + 1
        pair = np.concatenate([self.item.values[earlier], item]) * width
        pair += np.concatenate([self.worker.values[earlier], worker])
        _, first = np.unique(pair, return_index=True)
        kept = np.zeros(len(pair), bool)
        kept[first] = True
        kept = kept[len(earlier) :]
        if self.repeats == "error" and not kept.all():
            at = int(np.flatnonzero(~kept)[0])
            who = _ids(crowd.worker_ids, crowd.n_workers)[crowd.worker[at]]
            what = _ids(crowd.item_ids, crowd.n_items)[crowd.item[at]]
            raise ValueError(
                f"worker {who} labelled item {what} more than once ({int((~kept).sum())} repeated annotations in all); "
                'pass repeats="first" or repeats="keep"'
            )
        return kept

    def _add_gold(self, crowd: CrowdLabels, item_ids: list[Any]) -> NDArray[np.int64]:
        """Add the crowd's gold labels, and return the items whose gold label changed."""
        if crowd.gold is None:
            return np.empty(0, np.int64)
        known = np.flatnonzero(crowd.gold >= 0)
        items = self.items.find([item_ids[at] for at in known])
        gold = self._class_numbers(crowd)[crowd.gold[known]]
        news = items >= 0
        news[news] = self.gold.values[items[news]] != gold[news]
        self.gold.values[items[news]] = gold[news]
        return items[news]


def _ids(names: NDArray[Any] | None, n: int) -> list[Any]:
    return list(range(n)) if names is None else plain(names)


def _number(
    numbering: Numbering, ids: list[Any], wanted: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], list[int | str]]:
    """Return the (n_ids,) numbers of the wanted ids, -1 for other ids; and the wanted ids."""
    chosen = [name for name, is_wanted in zip(ids, wanted, strict=True) if is_wanted]
    numbers = np.full(len(ids), -1)
    numbers[wanted] = numbering.number(chosen)
    return numbers, chosen


@njit(cache=True, nogil=True)
def _link(item, before, last, first):
    """Append each annotation, starting at `first`, to the chain of its item."""
    for at in range(first, len(item)):
        before[at] = last[item[at]]
        last[item[at]] = at


@njit(cache=True, nogil=True)
def _gather(items, before, last):
    """Return the annotations of the items, item by item, in the order in which they arrived."""
    n = 0
    for item in items:
        at = last[item]
        while at >= 0:
            n += 1
            at = before[at]
    found = np.empty(n, np.int64)
    end = 0
    for item in items:
        start = end
        at = last[item]
        while at >= 0:
            found[end] = at
            end += 1
            at = before[at]
        found[start:end] = found[start:end][::-1].copy()
    return found
