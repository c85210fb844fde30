"""Assignment designs: which workers are asked about an item."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crowdml.labels import CrowdLabels
from crowdml.noise.counter_random import uniform
from crowdml.noise.options import make_with_options
from crowdml.support.names import check_name

MOST_DRAWS = 10_000
"""Limit of the draws per item, roughly, of the design "power_law".  Above it, rare workers are almost never drawn."""
Asked = NDArray[np.int32]
"""(n_items, labels per item) the workers asked about each item.  No row has a worker twice."""


class Assignment(Protocol):
    """An assignment design, as a dataclass of its options.  Its draws must not depend on the workers' matrices."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def n_labels(self, n_workers: int) -> int:
        """Return the number of labels per item.

        Raises:
            ValueError: the number exceeds the number of workers.
        """
        ...

    def ask(self, n_items: int, n_workers: int, key: np.uint64) -> Asked:
        """Draw the workers asked about each item, in time and memory linear in the number of labels."""
        ...


@dataclass(frozen=True)
class EveryItem:
    """Every worker labels every item."""

    def n_labels(self, n_workers: int) -> int:
        """See Assignment."""
        return n_workers

    def ask(self, n_items: int, n_workers: int, key: np.uint64) -> Asked:
        """See Assignment; nothing is drawn."""
        return np.broadcast_to(np.arange(n_workers, dtype=np.int32), (n_items, n_workers))


@dataclass(frozen=True)
class _FixedNumber:
    """Each item goes to `labels_per_item` workers."""

    labels_per_item: int

    def __post_init__(self) -> None:
        if int(self.labels_per_item) != self.labels_per_item or self.labels_per_item < 1:
            raise ValueError(f"labels_per_item must be a whole number of at least 1, got {self.labels_per_item}")

    def n_labels(self, n_workers: int) -> int:
        if self.labels_per_item > n_workers:
            raise ValueError(f"labels_per_item must be at most n_workers = {n_workers}, got {self.labels_per_item}")
        return self.labels_per_item


@dataclass(frozen=True)
class Balanced(_FixedNumber):
    """Each item goes to `labels_per_item` random workers.  The numbers of items per worker differ by at most one."""

    def ask(self, n_items: int, n_workers: int, key: np.uint64) -> Asked:
        """See Assignment."""
        return _deal(n_items, self.n_labels(n_workers), n_workers, key)


@dataclass(frozen=True)
class PowerLaw(_FixedNumber):
    """Each item goes to a random set of workers, drawn one by one with odds (rank + 1)**-exponent.

    A few workers then give most of the labels, as in real crowds.  Worker 0 is the busiest.  No worker labels an item
    twice.

    Args:
        labels_per_item: number of workers in the set, at least 1.
        exponent: at least 0; 0 makes all workers equally likely.  labels_per_item**exponent is at most MOST_DRAWS.
    """

    exponent: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.exponent < np.inf:
            raise ValueError(f"exponent must be at least 0, got {self.exponent}")
        if self.exponent * math.log(self.labels_per_item) > math.log(MOST_DRAWS):
            most = math.log(MOST_DRAWS) / math.log(self.labels_per_item)
            raise ValueError(f"exponent must be at most {most:.3g} for {self.labels_per_item} labels per item")

    def ask(self, n_items: int, n_workers: int, key: np.uint64) -> Asked:
        """See Assignment."""
        odds = np.cumsum(np.arange(1, n_workers + 1) ** -float(self.exponent))
        return _sample(n_items, self.n_labels(n_workers), odds / odds[-1], key)


ASSIGNMENTS: dict[str, type[Assignment]] = {"every_item": EveryItem, "balanced": Balanced, "power_law": PowerLaw}


def crowd_of_asked(asked: Asked, labels: NDArray[np.int32], n_workers: int, n_classes: int) -> CrowdLabels:
    """Return the crowd of the labels (n_items, labels per item) that the asked workers give."""
    item = np.repeat(np.arange(len(asked), dtype=np.int32), asked.shape[1])
    # A design asks no worker twice about an item, so a check for repeats would only cost time.
    return CrowdLabels(item, asked.ravel(), labels.ravel(), len(asked), n_workers, n_classes, repeats="keep")


def make_assignment(name: str, options: Mapping[str, Any] | None = None) -> Assignment:
    """Return the assignment design with this name.

    Raises:
        ValueError: the name or an option is unknown, an option is missing, or a value is out of range.
    """
    kind = ASSIGNMENTS[check_name("assignment", name, ASSIGNMENTS)]
    given = options or {}
    for option in given:
        check_name(f"option of assignment {name}", option, kind.__dataclass_fields__)
    if "labels_per_item" in kind.__dataclass_fields__ and "labels_per_item" not in given:
        raise ValueError(f"assignment {name} needs the assignment option labels_per_item")
    return make_with_options(f"assignment {name}", kind, given)


@njit(cache=True, nogil=True)
def _deal(n_items: int, n_labels: int, n_workers: int, key: np.uint64) -> Asked:
    """Deal the workers like cards from shuffled decks; each item takes the next n_labels cards.

    An item may take the last cards of one deck and the first cards of the next.  A worker that the item already holds
    then stays in the new deck for a later item.
    """
    asked = np.empty((n_items, n_labels), np.int32)
    deck = np.arange(n_workers).astype(np.int32)
    used, number = 0, np.uint64(0)
    for item in range(n_items):
        held = 0  # cards that this item took from the previous deck
        for place in range(n_labels):
            if used == n_workers:
                used, held = 0, place
            while True:
                card = used + int(uniform(key, number) * (n_workers - used))
                number += np.uint64(1)
                if not _holds(asked[item, :held], deck[card]):
                    break
            deck[used], deck[card] = deck[card], deck[used]
            asked[item, place] = deck[used]
            used += 1
    return asked


@njit(cache=True, nogil=True)
def _sample(n_items: int, n_labels: int, cumulative: NDArray[np.float64], key: np.uint64) -> Asked:
    """Draw workers by their cumulative odds.  Draw again if the item already has the worker."""
    asked = np.empty((n_items, n_labels), np.int32)
    number = np.uint64(0)
    for item in range(n_items):
        for place in range(n_labels):
            while True:
                worker = int(np.searchsorted(cumulative, uniform(key, number), side="right"))
                number += np.uint64(1)
                if not _holds(asked[item, :place], worker):
                    break
            asked[item, place] = worker
    return asked


@njit(cache=True, nogil=True, inline="always")
def _holds(workers: NDArray[np.int32], worker: int) -> bool:
    found = False
    for other in workers:
        found |= other == worker
    return found
