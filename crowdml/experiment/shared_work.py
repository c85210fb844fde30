"""Work that the cells of one process share, so that it is done once.

Cells that are computed in sequence often differ only in their method.  The caller passes the same `SharedWork` to
every `run_cell`.  The results do not change.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

_KEPT = {"items": 1, "inputs": 1, "crowd": 2, "labels": 8}
"""Kind of work -> how many of the latest results are kept; a result can be as large as a data set."""


class SharedWork:
    """The latest results of each kind of work, in memory."""

    def __init__(self) -> None:
        self._kept: dict[str, OrderedDict[Hashable, Any]] = {kind: OrderedDict() for kind in _KEPT}

    def get(self, kind: str, key: Hashable, make: Callable[[], T]) -> T:
        """Return the result that was made under a key, or make it.

        Args:
            kind: "items" (the training items of a cell), "inputs" (these items on a device), "crowd", or "labels" (what
                an aggregator found).
            key: everything that the result depends on.  The result of a key without a hash is not kept.
            make: makes the result; nobody may change the result afterwards.
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
