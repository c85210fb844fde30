"""When a run will be over: estimates of cells, corrected kind by kind by how long cells really take."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from crowdml.experiment.cell import COLUMNS, Cell

# Seconds of belief in the estimates, which keep the first cells from swinging the figure.
_BELIEF_SECONDS = 10.0


class WorkLeft:
    """The cells that are left, by kind; cells of a kind take about equally long.

    Args:
        seconds: estimated seconds of a cell.
    """

    def __init__(self, seconds: Callable[[Cell], float]) -> None:
        self._seconds = seconds
        self._kinds: dict[Hashable, _Kind] = {}
        self._estimated = self._actual = 0.0

    def add(self, cells: Sequence[Cell]) -> None:
        """Cells to compute."""
        for cell in cells:
            kind = self._kinds.setdefault(_kind_of(cell), _Kind())
            estimate = self._seconds(cell)
            kind.n_cells += 1
            kind.estimated_all += estimate
            kind.left += estimate

    def end(self, cell: Cell, seconds: float) -> None:
        """A cell that was added has ended."""
        kind = self._kinds[_kind_of(cell)]
        estimate = self._seconds(cell)
        kind.left = max(0.0, kind.left - estimate)
        kind.estimated += estimate
        kind.actual += seconds
        self._estimated += estimate
        self._actual += seconds

    def seconds(self) -> float:
        """Estimated seconds of what is left, in one process."""
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
        """How many times longer than estimated they take; the first cell counts as much as the other kinds do."""
        belief = self.estimated_all / self.n_cells
        return (self.actual + belief * overall) / (self.estimated + belief) if belief else overall


def _kind_of(cell: Cell) -> Hashable:
    return (cell.method_options, *(column.value(cell) for column in COLUMNS.values() if column.axis.costs))
