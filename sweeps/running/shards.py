"""Pack cells into shards: what one Ray Tune trial computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from crowdml.experiment.cell import Cell

# A trial costs some 30 ms.  The first shards are long, which keeps trials few and shared work together; the last ones
# are short, so that no process works long after the others have nothing left.
MIN_SECONDS, MAX_SECONDS = 2.0, 600.0
SHARDS_PER_SLOT = 3
"""A shard is that part of what is left for each process."""

Timed = tuple[Cell, float]


@dataclass(frozen=True)
class Shard:
    """Cells that one trial computes one after the other; they share data set and network.

    Args:
        cells: (cell, estimated wall seconds), in order; those of one crowd stand together.
        rank: shards of a lower one start first.
    """

    cells: tuple[Timed, ...]
    rank: int = 0

    @property
    def seconds(self) -> float:
        """Estimated wall seconds of the shard."""
        return sum(seconds for _, seconds in self.cells)

    @property
    def trains(self) -> bool:
        """Whether its cells train networks."""
        return self.cells[0][0].network is not None


def pack(
    cells: Sequence[Cell],
    seconds: Callable[[Cell], float],
    n_slots: int,
    *,
    ranks: Sequence[int] | None = None,
    longest: float = MAX_SECONDS,
    mix: bool = False,
) -> list[Shard]:
    """Split the cells into shards, in the order in which they are to start: by rank, then the longest first.

    Args:
        cells: all cells to compute.
        seconds: estimates a cell.
        n_slots: how many shards run at a time; more slots make shorter shards.
        ranks: of each cell; by default all are alike.
        longest: the estimated seconds of a shard of several cells; 0 puts each cell into a shard of its own.
        mix: start shards that train and others side by side, for they run on GPUs and on processors.
    """
    groups: dict[tuple[int, object, object, object], list[Timed]] = {}
    for cell, rank in zip(cells, ranks or [0] * len(cells), strict=True):
        group = groups.setdefault((rank, cell.dataset, cell.n_train, cell.network), [])
        group.append((cell, seconds(cell)))
    left = sum(cost for group in groups.values() for _, cost in group)
    shards = []
    for (rank, *_), group in groups.items():
        for run in _split(_by_crowd(group), left, n_slots, longest):
            shards.append(Shard(tuple(run), rank))
            left -= shards[-1].seconds
    shards.sort(key=lambda shard: (shard.rank, -shard.seconds))
    return _mixed(shards) if mix else shards


def _by_crowd(group: Iterable[Timed]) -> list[list[Timed]]:
    """The cells crowd by crowd."""
    crowds: dict[object, list[Timed]] = {}
    for cell, cost in group:
        crowds.setdefault(cell.crowd_key, []).append((cell, cost))
    return list(crowds.values())


def _split(crowds: Iterable[list[Timed]], left: float, n_slots: int, longest: float) -> Iterator[list[Timed]]:
    """Runs of whole crowds within the limit; a crowd that is longer by itself is cut, at the limit too."""
    run: list[Timed] = []
    total = 0.0
    limit = _limit(left, n_slots, longest)
    for crowd in crowds:
        cost = sum(seconds for _, seconds in crowd)
        pieces = [crowd] if total + cost <= limit or cost <= limit else [[timed] for timed in crowd]
        for piece in pieces:
            cost = sum(seconds for _, seconds in piece)
            if run and total + cost > limit:
                yield run
                left -= total
                run, total, limit = [], 0.0, _limit(left, n_slots, longest)
            run.extend(piece)
            total += cost
    if run:
        yield run


def _limit(left: float, n_slots: int, longest: float) -> float:
    return min(max(left / (n_slots * SHARDS_PER_SLOT), MIN_SECONDS), longest)


def _mixed(shards: list[Shard]) -> list[Shard]:
    """The shards of each rank so that those that train and the others come in turn, each kind in its order."""
    place = {}
    for rank in {shard.rank for shard in shards}:
        for kind in (True, False):
            mine = [number for number, shard in enumerate(shards) if (shard.rank, shard.trains) == (rank, kind)]
            place |= {number: (rank, (at + 0.5) / len(mine)) for at, number in enumerate(mine)}
    return [shards[number] for number in sorted(place, key=lambda number: place[number])]
