"""Pack cells into shards: what one Ray Tune trial computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crowdml.experiment import Cell

# A trial costs some 30 ms; shards this long make that nothing, and short ones keep the end of a run from dragging.
MIN_SECONDS, MAX_SECONDS = 5.0, 600.0
SHARDS_PER_SLOT = 8


@dataclass(frozen=True)
class Shard:
    """Cells that one trial computes one after the other; they share data set and network.

    Args:
        cells: (cell, estimated wall seconds), in order.
    """

    cells: tuple[tuple[Cell, float], ...]

    @property
    def seconds(self) -> float:
        """Estimated wall seconds of the shard."""
        return sum(seconds for _, seconds in self.cells)

    @property
    def trains(self) -> bool:
        """Whether its cells train networks."""
        return self.cells[0][0].network is not None


def pack(cells: Sequence[Cell], seconds: Callable[[Cell], float], n_slots: int) -> list[Shard]:
    """Split the cells into shards, the longest first.

    Args:
        cells: all cells to compute.
        seconds: estimates a cell.
        n_slots: how many shards run at a time; more slots make shorter shards.
    """
    costs = [seconds(cell) for cell in cells]
    limit = min(max(sum(costs) / (n_slots * SHARDS_PER_SLOT), MIN_SECONDS), MAX_SECONDS)
    groups: dict[tuple[object, ...], list[tuple[Cell, float]]] = {}
    for cell, cost in zip(cells, costs, strict=True):
        groups.setdefault((cell.dataset, cell.n_train, cell.network), []).append((cell, cost))
    shards = [Shard(tuple(pairs)) for group in groups.values() for pairs in _split(group, limit)]
    return sorted(shards, key=lambda shard: -shard.seconds)


def _split(group: list[tuple[Cell, float]], limit: float) -> list[list[tuple[Cell, float]]]:
    """Runs of neighbours whose seconds add up to the limit at most, or that are one cell."""
    runs: list[list[tuple[Cell, float]]] = []
    total = 0.0
    for cell, cost in group:
        if not runs or total + cost > limit:
            runs.append([])
            total = 0.0
        runs[-1].append((cell, cost))
        total += cost
    return runs
