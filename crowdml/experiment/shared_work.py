"""SharedWork: results of work that several cells of one process need, so that the work is done once.

Cells that run one after another often differ only in their method.  The caller passes the same `SharedWork` to every
`run_cell`.  The results of the cells stay the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

_KEPT = {"items": 1, "inputs": 1, "crowd": 2, "labels": 8}
"""Kind of work -> number of latest results that are kept; a result can be as large as a data set."""


class SharedWork:
    """The latest results of each kind of work, in memory."""

    def __init__(self) -> None:
        self._kept: dict[str, OrderedDict[Hashable, Any]] = {kind: OrderedDict() for kind in _KEPT}

    def get(self, kind: str, key: Hashable, make: Callable[[], T]) -> T:
        """Return the kept result of a key, or call `make` and keep its result.

        Args:
            kind: "items" (the training items of a cell), "inputs" (these items on a device), "crowd", or "labels" (the
                result of an aggregator).
            key: all values on which the result depends.  The result of a key that cannot be hashed is not kept.
            make: makes the result, which nobody may change afterwards.
        """
        kept = self._kept[kind]
        try:
            known = key in kept
        except TypeError:
            return make()
        if not known:
            while len(kept) >= _KEPT[kind]:
                kept.popitem(last=False)
            kept[key] = make()
        kept.move_to_end(key)
        return kept[key]
