"""Work that the cells of one process share, so that it is done once.

Cells that are computed one after the other often differ in their method alone.  Whoever computes them passes the same
`SharedWork` to every `run_cell`; the results are those of cells computed alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

_KEPT = {"items": 1, "inputs": 1, "crowd": 2, "labels": 8}
"""Kind of work -> how many of its latest results are kept; each can be as large as a data set."""


class SharedWork:
    """The latest results of each kind of work, in memory."""

    def __init__(self) -> None:
        self._kept: dict[str, OrderedDict[Hashable, Any]] = {kind: OrderedDict() for kind in _KEPT}

    def get(self, kind: str, key: Hashable, make: Callable[[], T]) -> T:
        """What was made under that key, or else is made now.

        Args:
            kind: "items" (the part of a data set that is trained on), "inputs" (the same on a device), "crowd" or
                "labels" (what an aggregator found).
            key: everything that the result depends on.  One that cannot be hashed is never found again.
            make: makes it; nobody may change it afterwards.
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
