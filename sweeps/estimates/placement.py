"""The resources of a trial, and how many trials run at a time."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from crowdml.experiment.cell import Cell
from sweeps.estimates.costs import NetworkKind


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The resources of a trial.

    Args:
        cpus: processors per trial and per Ray Train worker.
        gpus: kind of cell -> GPUs per Ray Train worker; below 1, several cells share a GPU.  Kinds that are
            not listed get no GPU.
        n_train_workers: Ray Train workers per training cell; several workers train with DDP.
    """

    cpus: int = 1
    gpus: Mapping[NetworkKind, float] = field(default_factory=dict)
    n_train_workers: int = 1

    def gpus_of(self, cell: Cell) -> float:
        """Return the GPUs of each Ray Train worker of a cell."""
        return 0.0 if cell.network is None else self.gpus.get((cell.dataset, cell.network), 0.0)


def fixed_placement(options: argparse.Namespace, kinds: Iterable[NetworkKind], gpus: float) -> Placement:
    """Return the placement by the options, equal for all kinds; without --gpus-per-trial a training trial gets one GPU.

    `options` come from the command line, `kinds` are the kinds of the cells that train, `gpus` is the number of GPUs.

    Raises:
        ValueError: the options contradict each other, or ask for more GPUs than there are.
    """
    wanted = options.gpus_per_trial if options.gpus_per_trial is not None else float(gpus > 0)
    if wanted > gpus:
        raise ValueError(f"--gpus-per-trial {wanted:g} is more than the number of GPUs, which is {gpus:g}")
    if wanted > 1 and wanted != int(wanted):
        raise ValueError(f"--gpus-per-trial above 1 must be a whole number, got {wanted:g}")
    workers = options.train_workers or max(1, int(wanted))
    if workers > 1 and options.backend == "inline":
        raise ValueError("--backend inline trains on one device; leave out --train-workers")
    shares = dict.fromkeys(kinds, wanted / workers) if wanted else {}
    return Placement(cpus=options.cpus_per_trial, gpus=shares, n_train_workers=workers)


def count_slots(cells: Iterable[Cell], placement: Placement, cpus: float, gpus: float) -> int:
    """Return how many trials run at a time; the kind of cell that needs the most resources decides.

    Raises:
        ValueError: not even one trial of some kind fits.
    """
    fewest = int(cpus / placement.cpus)
    wanted = {(cell.network is not None, placement.gpus_of(cell)) for cell in cells}
    for trains, share in wanted:
        workers = placement.n_train_workers if trains else 1
        slots = cpus / (placement.cpus * workers)
        if share:
            slots = min(slots, gpus / (share * workers))
        if slots < 1:
            raise ValueError(
                f"a trial needs {placement.cpus * workers} CPUs and {share * workers:g} GPUs, but there are "
                f"{cpus:g} CPUs and {gpus:g} GPUs; lower --cpus-per-trial, --gpus-per-trial or --train-workers"
            )
        fewest = min(fewest, int(slots))
    return max(fewest, 1)
