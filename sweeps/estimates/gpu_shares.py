"""Find the GPU share and the speed per kind of training cell (data set and network): by options, results or a probe."""

from __future__ import annotations

import argparse
import multiprocessing
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
from rich.console import Console

from crowdml import datasets
from crowdml.experiment.cell import Cell
from sweeps.estimates.costs import CostModel, NetworkKind, Speeds
from sweeps.estimates.devices import share_of_gpu
from sweeps.estimates.placement import Placement, fixed_placement
from sweeps.estimates.probe import Probe, announcement, gpu_memory_mb, known_gpu_peaks, networks_of, probe


@dataclass(frozen=True)
class Measured:
    """The speed and memory of each kind of training cell.

    Args:
        speeds: kind -> images per second.
        gpu_peaks: kind -> peak memory on a GPU, in MB.
        gpu_mb: memory of a GPU in MB; 0 if it was not measured.
    """

    speeds: Speeds = field(default_factory=dict)
    gpu_peaks: Mapping[NetworkKind, float] = field(default_factory=dict)
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
    """Probe the kinds of cells for which the results lack the memory or the speed.

    A run needs the memory of cells that share GPUs.  A dry run also needs the speed of cells without a timing.

    Args:
        cells: the cells to compute.
        known: the rows of `ResultStore.read_cells`.
        costs: estimates made from `known`.
        gpus: number of GPUs of this machine or cluster; no GPU memory is measured if it is 0.
        console: prints an announcement before a probe, and the data sets that cannot be probed.
        on_cluster: whether to measure on the connected Ray cluster instead of this machine.
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
    options: argparse.Namespace, kinds: Sequence[NetworkKind], gpus: float, measured: Measured, console: Console
) -> Placement:
    """Return the placement by the options; without --gpus-per-trial the memory of the cells decides the GPU shares.

    `kinds` are the kinds of the cells that train, `gpus` is the number of GPUs, `measured` comes from `measure`.

    Raises:
        ValueError: the options contradict each other or the GPUs, or a cell does not fit on a GPU.
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
        console.print(f"{network} on {dataset}: {1 / share:.0f} cells per GPU", highlight=False)
    return replace(stated, gpus={**stated.gpus, **shares})


def _kind(cell: Cell) -> NetworkKind | None:
    return None if cell.network is None else (cell.dataset, cell.network)


def _load(cells: Sequence[Cell], console: Console, *, download: bool) -> dict[str, Any]:
    """Load the data sets of the cells; without `download` leave out data sets that are not on this machine."""
    loaded = {}
    for name in dict.fromkeys(cell.dataset for cell in cells):
        with suppress(datasets.DatasetMissingError):
            loaded[name] = datasets.load(name, download=download, for_networks=True)
        if name not in loaded:
            console.print(f"{name} is not downloaded, so its networks are not probed", highlight=False)
    return loaded


def _probe(cells: Sequence[Cell], data: Mapping[str, Any], cpus: int, has_gpu: bool) -> tuple[Probe, float]:
    """Probe with as many threads as a trial has processors."""
    import torch

    torch.set_num_threads(cpus)
    return probe(cells, data), gpu_memory_mb() if has_gpu else 0.0


def _in_own_process(cells: Sequence[Cell], data: Mapping[str, Any], cpus: int, has_gpu: bool) -> tuple[Probe, float]:
    """Probe in a process of its own, which frees the memory of the GPU when it ends."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _ignore_interrupt) as pool:
        try:
            return pool.submit(_probe, cells, data, cpus, has_gpu).result()
        except KeyboardInterrupt:
            # The pool waits for its process.
            for process in multiprocessing.active_children():
                process.kill()
            raise


def _ignore_interrupt() -> None:
    """Ignore Ctrl-C.  A terminal sends Ctrl-C to all processes, but only the driver handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _on_ray(cells: Sequence[Cell], data: Mapping[str, Any], cpus: int, has_gpu: bool) -> tuple[Probe, float]:
    import ray

    task = ray.remote(num_cpus=cpus, num_gpus=int(has_gpu))(_probe)
    return ray.get(task.remote(cells, ray.put(dict(data)), cpus, has_gpu))
