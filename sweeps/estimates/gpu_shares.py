"""How much of a GPU each kind of training cell gets, and how fast it trains, where nobody has stated or measured it."""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
from rich.console import Console

from crowdml import datasets
from crowdml.experiment.cell import Cell
from sweeps.estimates.costs import CostModel, Kind, Speeds
from sweeps.estimates.devices import share_of_gpu
from sweeps.estimates.placement import Placement, fixed_placement
from sweeps.estimates.probe import Probe, announcement, gpu_memory_mb, known_gpu_peaks, networks_of, probe


@dataclass(frozen=True)
class Measured:
    """What was found out about cells that train.

    Args:
        speeds: kind -> images a second.
        gpu_peaks: kind -> peak MB on a GPU.
        gpu_mb: memory of a GPU; 0 where it was not asked for.
    """

    speeds: Speeds = field(default_factory=dict)
    gpu_peaks: Mapping[Kind, float] = field(default_factory=dict)
    gpu_mb: float = 0.0


def measure(
    options: argparse.Namespace,
    cells: Sequence[Cell],
    known: pd.DataFrame,
    costs: CostModel,
    gpus: float,
    console: Console,
    *,
    on_cluster: bool,
) -> Measured:
    """Probe the kinds of cells that it needs to know more about: none, where the results hold what such cells took.

    A run needs the memory of cells that are to share GPUs, a dry run the speed of those nobody has timed.

    Args:
        options: of the command line.
        cells: those to compute.
        known: rows of `ResultStore.read_cells`.
        costs: what they say of the cells' seconds.
        gpus: how many there are.
        console: is told before a probe, and what could not be probed.
        on_cluster: whether a Ray cluster is joined; then its GPUs are measured, else this machine's.
    """
    peaks = known_gpu_peaks(known)
    shares = gpus > 0 and options.gpus_per_trial is None and (options.train_workers or 1) == 1
    wanted = {kind for kind in networks_of(cells) if shares and kind not in peaks}
    if options.dry_run:
        wanted |= {kind for cell in cells if (kind := _kind(cell)) and costs.source(cell) == "constants"}
    chosen = [cell for cell in cells if _kind(cell) in wanted]
    data = _load(chosen, console, download=not options.dry_run)
    chosen = [cell for cell in chosen if cell.dataset in data]
    if chosen:
        console.print(announcement(chosen), highlight=False, soft_wrap=True)
    if not chosen and not shares:
        return Measured(gpu_peaks=peaks)
    run = _on_ray if on_cluster else _in_own_process
    probed, gpu_mb = run(chosen, data, options.cpus_per_trial, gpus > 0)
    return Measured(probed.speeds, {**probed.gpu_peaks, **peaks}, gpu_mb)


def place(
    options: argparse.Namespace, kinds: Sequence[Kind], gpus: float, measured: Measured, console: Console
) -> Placement:
    """The placement that the options state; where they leave the share of a GPU open, by the memory that cells need.

    Args:
        options: of the command line.
        kinds: of cells that train.
        gpus: how many there are.
        measured: what `measure` gave.
        console: is told the shares.

    Raises:
        ValueError: options that do not go together, or a cell that does not fit on a GPU.
    """
    stated = fixed_placement(options, kinds, gpus)
    if options.gpus_per_trial is not None or not measured.gpu_mb or stated.n_train_workers > 1:
        return stated
    shares = {
        kind: share_of_gpu(measured.gpu_peaks[kind], measured.gpu_mb)
        for kind in stated.gpus
        if kind in measured.gpu_peaks
    }
    for (dataset, network), share in shares.items():
        console.print(f"{network} on {dataset}: {1 / share:.0f} cells a GPU", highlight=False)
    return replace(stated, gpus={**stated.gpus, **shares})


def _kind(cell: Cell) -> Kind | None:
    return None if cell.network is None else (cell.dataset, cell.network)


def _load(cells: Sequence[Cell], console: Console, *, download: bool) -> dict[str, Any]:
    """The data sets of the cells; one that is not here is left out of a dry run, which downloads nothing."""
    loaded = {}
    for name in dict.fromkeys(cell.dataset for cell in cells):
        with suppress(datasets.DatasetMissingError):
            loaded[name] = datasets.load(name, download=download, for_networks=True)
        if name not in loaded:
            console.print(f"{name} is not here, so its networks are not probed", highlight=False)
    return loaded


def _probe(cells: Sequence[Cell], data: Mapping[str, Any], cpus: int, has_gpu: bool) -> tuple[Probe, float]:
    """As a trial does it: with as many threads as it has processors."""
    import torch

    torch.set_num_threads(cpus)
    return probe(cells, data), gpu_memory_mb() if has_gpu else 0.0


def _in_own_process(cells: Sequence[Cell], data: Mapping[str, Any], cpus: int, has_gpu: bool) -> tuple[Probe, float]:
    """In a process that gives the GPU's memory back when it ends."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_probe, cells, data, cpus, has_gpu).result()


def _on_ray(cells: Sequence[Cell], data: Mapping[str, Any], cpus: int, has_gpu: bool) -> tuple[Probe, float]:
    import ray

    task = ray.remote(num_cpus=cpus, num_gpus=int(has_gpu))(_probe)
    return ray.get(task.remote(cells, ray.put(dict(data)), cpus, has_gpu))
