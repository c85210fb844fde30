"""Add up the cells, hours, GPU hours and money of a run before it starts, and count the sources of the estimates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crowdml.experiment.cell import Cell
from sweeps.estimates.costs import CostModel, Source
from sweeps.estimates.placement import Placement

HOUR = 3600.0


@dataclass(frozen=True)
class Prices:
    """Prices per hour of one GPU and of one processor, in any currency; None if a price is unknown."""

    gpu: float | None = None
    cpu: float | None = None

    def of(self, work: Work) -> float | None:
        """Return the cost of the work; None if no price is known."""
        if self.gpu is None and self.cpu is None:
            return None
        return (self.gpu or 0.0) * work.gpu_seconds / HOUR + (self.cpu or 0.0) * work.cpu_seconds / HOUR


@dataclass
class Work:
    """A group of cells, and the work that is left.

    Attributes:
        n_cells, n_done, n_failed, n_todo: number of cells in total, with a result, failed before, and to compute now.
        seconds: estimated wall seconds of the cells to compute, in sequence.
        gpu_seconds, cpu_seconds: the seconds of each cell times its GPUs and times its processors.
        sources: number of estimates per source.
    """

    n_cells: int = 0
    n_done: int = 0
    n_failed: int = 0
    n_todo: int = 0
    seconds: float = 0.0
    gpu_seconds: float = 0.0
    cpu_seconds: float = 0.0
    sources: Counter[Source] = field(default_factory=Counter)


@dataclass(frozen=True)
class Forecast:
    """The work, time and money that a run needs.

    Args:
        groups: (data set, network, method) -> work; the network is None if no network is trained.
        total: the sum of the groups.
        wall_seconds: seconds until the end, with `n_slots` trials at a time.
        n_slots: trials at a time.
        money: cost of the work, without time lost between trials; None if no price is known.
    """

    groups: Mapping[tuple[str, str | None, str], Work]
    total: Work
    wall_seconds: float
    n_slots: int
    money: float | None


def forecast(
    cells: Sequence[Cell],
    todo: Sequence[Cell],
    status: Mapping[str, str],
    costs: CostModel,
    placement: Placement,
    *,
    n_slots: int,
    prices: Prices | None = None,
) -> Forecast:
    """Add up the work, time and money that the cells need.

    Args:
        cells: the whole grid.
        todo: the cells of the grid that would be computed.
        status: cell id -> "ok" or "failed" for the cells with a result; see `ResultStore.status`.
        costs: estimates the seconds of cells.
        placement: resources of a trial.
        n_slots: trials at a time.
        prices: prices per hour; None computes no money.
    """
    groups: dict[tuple[str, str | None, str], Work] = {}
    total = Work()
    longest = 0.0
    left = {cell.id for cell in todo}
    for cell in cells:
        group = groups.setdefault((cell.dataset, cell.network, cell.method), Work())
        estimate = costs.estimate(cell)
        found = status.get(cell.id)
        for work in (group, total):
            work.n_cells += 1
            work.n_done += found == "ok"
            work.n_failed += found == "failed"
            if cell.id in left:
                workers = placement.n_train_workers if cell.network is not None else 1
                work.n_todo += 1
                work.seconds += estimate.seconds
                work.gpu_seconds += estimate.seconds * workers * placement.gpus_of(cell)
                work.cpu_seconds += estimate.seconds * workers * placement.cpus
                work.sources[estimate.source] += 1
        if cell.id in left:
            longest = max(longest, estimate.seconds)
    return Forecast(
        groups=groups,
        total=total,
        # A run never ends before its longest cell.
        wall_seconds=max(total.seconds / n_slots, longest),
        n_slots=n_slots,
        money=None if prices is None else prices.of(total),
    )
