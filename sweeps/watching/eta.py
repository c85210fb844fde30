"""Estimate when a run ends.  Measured seconds of each kind of cell correct the estimates of the cells that are left."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from crowdml.experiment.cell import COLUMNS, Cell

# The estimates weigh as much as this many measured seconds, so that the first cells do not change the ETA much.
_BELIEF_SECONDS = 10.0


class WorkLeft:
    """The cells that are left, by kind; cells of one kind take about equally long.

    The argument `seconds` returns the estimated seconds of a cell.
    """

    def __init__(self, seconds: Callable[[Cell], float]) -> None:
        self._seconds = seconds
        self._kinds: dict[Hashable, _Kind] = {}
        self._estimated = self._actual = 0.0

    def add(self, cells: Sequence[Cell]) -> None:
        """Add cells to compute."""
        for cell in cells:
            kind = self._kinds.setdefault(_kind_of(cell), _Kind())
            estimate = self._seconds(cell)
            kind.n_cells += 1
            kind.estimated_all += estimate
            kind.left += estimate

    def end(self, cell: Cell, seconds: float | None) -> None:
        """Remove an added cell that has ended after these wall seconds.

        `seconds` is None if another run computed the cell, because machines of that run may have another speed.
        """
        kind = self._kinds[_kind_of(cell)]
        estimate = self._seconds(cell)
        kind.left = max(0.0, kind.left - estimate)
        if seconds is not None:
            kind.estimated += estimate
            kind.actual += seconds
            self._estimated += estimate
            self._actual += seconds

    def seconds(self) -> float:
        """Return the estimated seconds of the cells that are left, in one process."""
        overall = (self._actual + _BELIEF_SECONDS) / (self._estimated + _BELIEF_SECONDS)
        return sum(kind.left * kind.correction(overall) for kind in self._kinds.values())


@dataclass
class _Kind:
    n_cells: int = 0
    estimated_all: float = 0.0
    left: float = 0.0
    estimated: float = 0.0
    actual: float = 0.0

    def correction(self, overall: float) -> float:
        """Return measured over estimated seconds, as if one more mean cell had taken `overall` times its estimate."""
        belief = self.estimated_all / self.n_cells
        return (self.actual + belief * overall) / (self.estimated + belief) if belief else overall


def _kind_of(cell: Cell) -> Hashable:
    return (cell.method_options, *(column.value(cell) for column in COLUMNS.values() if column.axis.costs))
