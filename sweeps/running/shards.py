"""Pack cells into shards: one Ray Tune trial computes one shard."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from crowdml.experiment.cell import Cell

# A trial costs about 30 ms.  The first shards are long, so that there are few trials and cells share work.  The last
# shards are short, so that no process works long after the others have ended.
MIN_SECONDS, MAX_SECONDS = 2.0, 600.0
SHARDS_PER_SLOT = 3
"""Each shard takes this part of the remaining work of one process."""

Timed = tuple[Cell, float]


@dataclass(frozen=True)
class Shard:
    """Cells that one trial computes one after the other; they have the same data set and network.

    Args:
        cells: (cell, estimated wall seconds), in order; the cells of one crowd are neighbours.
        rank: shards with a lower rank start first.
    """

    cells: tuple[Timed, ...]
    rank: int = 0

    @property
    def seconds(self) -> float:
        """The estimated wall seconds of the shard."""
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
    seed: str | None = None,
) -> list[Shard]:
    """Split cells into shards, and return the shards in starting order: by rank, then the longest first.

    Args:
        seconds: returns the estimated seconds of a cell.
        n_slots: how many shards run at a time; more slots make shorter shards.
        ranks: of each cell; by default all ranks are equal.
        longest: maximum of the estimated seconds of a shard with several cells; 0 gives each cell its own shard.
        mix: alternate shards that train (on GPUs) and shards that do not train (on CPUs).
        seed: shuffles the cells, so that runs with different seeds start with different cells of equal rank.  Shards
            whose lengths differ by less than a factor of about two then count as equally long.  None keeps the order.
    """
    ranked = list(zip(cells, ranks or [0] * len(cells), strict=True))
    if seed is not None:
        random.Random(seed).shuffle(ranked)
    groups: dict[tuple[int, object, object, object], dict[object, list[Timed]]] = {}
    for cell, rank in ranked:
        crowds = groups.setdefault((rank, cell.dataset, cell.n_train, cell.network), {})
        crowds.setdefault(cell.crowd_key, []).append((cell, seconds(cell)))
    left = sum(cost for crowds in groups.values() for crowd in crowds.values() for _, cost in crowd)
    shards = []
    for (rank, *_), crowds in groups.items():
        for run in _split(crowds.values(), left, n_slots, longest):
            shards.append(Shard(tuple(run), rank))
            left -= shards[-1].seconds
    length = _magnitude if seed is not None else float
    shards.sort(key=lambda shard: (shard.rank, -length(shard.seconds)))
    return _mixed(shards) if mix else shards


def _magnitude(seconds: float) -> int:
    """Return seconds as a rounded power of two."""
    return round(math.log2(max(seconds, 1e-6)))


def _split(crowds: Iterable[list[Timed]], left: float, n_slots: int, longest: float) -> Iterator[list[Timed]]:
    """Yield the cells of one shard after another: whole crowds up to the limit; a crowd above the limit is cut."""
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
    """Alternate shards with training and shards without, within each rank; keep the order of each kind."""
    place = {}
    for rank in {shard.rank for shard in shards}:
        for kind in (True, False):
            mine = [number for number, shard in enumerate(shards) if (shard.rank, shard.trains) == (rank, kind)]
            place |= {number: (rank, (at + 0.5) / len(mine)) for at, number in enumerate(mine)}
    return [shards[number] for number in sorted(place, key=lambda number: place[number])]
