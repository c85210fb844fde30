"""Measure the networks of a grid on this machine before the run: images a second, and the memory of one cell."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from crowdml.datasets import CrowdData, ImageData, stratified_order
from crowdml.datasets.data import TrainTest
from crowdml.experiment.cell import Cell
from crowdml.experiment.crowd_types import Real, Simulated
from crowdml.experiment.result import CellResult
from crowdml.experiment.run_cell import run_cell
from crowdml.labels import CrowdLabels
from sweeps.estimates.costs import Kind, networks_at_once
from sweeps.estimates.devices import is_gpu
from sweeps.grid.grids import shorten

SECONDS_A_NETWORK = 20.0
# The first run starts torch as well, and is repeated on more items until it trains for so long.
_STEADY_SECONDS = 1.0
_FIRST_ITEMS, _GROWTH, _TEST_ITEMS = 256, 4, 256


@dataclass(frozen=True, kw_only=True)
class ProbedNetwork:
    """What a probe measured of a network on a data set.

    Attributes:
        dataset, network: their names.
        images_per_second: training images that one network sees in a second.
        host_mb: peak memory of the process, with the whole data set in it.
        gpu_mb: peak memory on the GPU, the whole data set counted in, of the method in the grid that trains most
            networks; None where there is no GPU.
        device: name of the GPU or the processor.
        seconds: wall seconds that the probe took.
    """

    dataset: str
    network: str
    images_per_second: float
    host_mb: float
    gpu_mb: float | None
    device: str
    seconds: float


@dataclass(frozen=True)
class Probe:
    """What a probe measured.

    Args:
        networks: one a pair of data set and network.
    """

    networks: tuple[ProbedNetwork, ...]

    @property
    def speeds(self) -> dict[Kind, float]:
        """(data set, network) -> images a second, for `CostModel`."""
        return {(one.dataset, one.network): one.images_per_second for one in self.networks}

    @property
    def gpu_peaks(self) -> dict[Kind, float]:
        """(data set, network) -> peak MB on the GPU, of those trained on one."""
        return {(one.dataset, one.network): one.gpu_mb for one in self.networks if one.gpu_mb is not None}


def networks_of(cells: Sequence[Cell]) -> list[Kind]:
    """The pairs of data set and network that the cells train, each once: what a probe of them measures."""
    return list(dict.fromkeys((cell.dataset, cell.network) for cell in cells if cell.network is not None))


def announcement(cells: Sequence[Cell]) -> str:
    """One line, to be printed before a probe: what it measures and how long that takes."""
    kinds = networks_of(cells)
    named = ", ".join(f"{network} on {dataset}" for dataset, network in kinds)
    return (
        f"probing {named or 'nothing: no cell trains a network'}; about {SECONDS_A_NETWORK * len(kinds):.0f} s at most"
    )


def probe(cells: Sequence[Cell], data: Mapping[str, ImageData | CrowdData], device: str = "auto") -> Probe:
    """Train each network of the cells for one epoch on a few hundred items of each of its data sets.

    Takes about SECONDS_A_NETWORK at most for each, where 512 items of it are trained in that time.

    Args:
        cells: whose networks are measured; of several recipes of one network and data set, the first one's.
        data: data set name -> the data, loaded with what networks are trained on.
        device: "auto" (a GPU if there is one), or a torch device name.

    Raises:
        KeyError: a data set is not at hand.
        ValueError: the items of a data set are not at hand.
    """
    return Probe(tuple(_probe_one(kind, cells, data[kind[0]], device) for kind in networks_of(cells)))


def known_gpu_peaks(results: pd.DataFrame) -> dict[Kind, float]:
    """(data set, network) -> largest peak MB of cells trained on a GPU, from a frame of `ResultStore.read_cells`."""
    gpus = [name for name in results["device"].dropna().unique() if is_gpu(name)]
    trained = results[results["network"].notna() & results["device"].isin(gpus) & (results["peak_memory_mb"] > 0)]
    peaks = trained.groupby(["dataset", "network"], as_index=False)["peak_memory_mb"].max()
    return {(dataset, network): float(peak) for dataset, network, peak in peaks.itertuples(index=False)}


def gpu_memory_mb() -> float:
    """Memory of this machine's smallest GPU, in MB; 0 where there is none."""
    import torch

    sizes = [torch.cuda.get_device_properties(number).total_memory for number in range(torch.cuda.device_count())]
    return min(sizes, default=0) / 1e6


def _probe_one(kind: Kind, cells: Sequence[Cell], data: ImageData | CrowdData, device: str) -> ProbedNetwork:
    mine = [cell for cell in cells if (cell.dataset, cell.network) == kind]
    start = time.perf_counter()
    n_items, result = _steady_run(_simplest(mine[0]), data, device, start)
    peak = result.peak_memory_mb or 0.0
    hungriest = max(mine, key=lambda cell: networks_at_once(cell.method))
    on_gpu = is_gpu(result.device)
    if on_gpu and networks_at_once(hungriest.method) > 1:
        several = replace(_simplest(hungriest), method=hungriest.method, method_options=hungriest.method_options)
        peak = max(peak, run_cell(several, _few(data, n_items), device=device).peak_memory_mb or 0.0)
    # Networks are trained with all of their items on the device.
    rest = (data.nbytes - _few(data, n_items).nbytes) / 1e6
    assert result.images_per_second is not None
    assert result.device is not None
    return ProbedNetwork(
        dataset=kind[0],
        network=kind[1],
        images_per_second=result.images_per_second,
        host_mb=_host_peak_mb() if on_gpu else peak,
        gpu_mb=peak + rest if on_gpu else None,
        device=result.device,
        seconds=time.perf_counter() - start,
    )


def _steady_run(cell: Cell, data: ImageData | CrowdData, device: str, start: float) -> tuple[int, CellResult]:
    """The number of items trained on, and the result: of the first run that is long enough, or of the last in time."""
    assert cell.training is not None
    n_all = _n_items(data)
    n_items = min(n_all, max(_FIRST_ITEMS, 2 * cell.training.recipe.batch_size))
    while True:
        before = time.perf_counter()
        result = run_cell(cell, _few(data, n_items), device=device)
        now = time.perf_counter()
        assert result.images_per_second is not None
        steady = n_items / result.images_per_second >= _STEADY_SECONDS
        in_time = now - start + _GROWTH * (now - before) <= SECONDS_A_NETWORK
        if steady or n_items == n_all or not in_time:
            return n_items, result
        n_items = min(n_all, n_items * _GROWTH)


def _simplest(cell: Cell) -> Cell:
    """A cell with the network and recipe of the cell for one epoch, and the crowd and method that take least time."""
    assert cell.training is not None
    crowd = Real() if isinstance(cell.crowd, Real) else Simulated(pattern="uniform", noise_rate=0.0, n_workers=1)
    recipe = replace(shorten(cell.training.recipe, 1), patience=None, keep="last")
    training = replace(cell.training, recipe=recipe)
    return Cell(dataset=cell.dataset, crowd=crowd, method="mv", training=training, seed=0)


def _n_items(data: ImageData | CrowdData) -> int:
    return len(data.train_labels) if isinstance(data, ImageData) else len(_judged(data))


def _few(data: ImageData | CrowdData, n_items: int) -> ImageData | CrowdData:
    """The data with so many training items, and few to test on."""
    if isinstance(data, CrowdData):
        return _few_of_crowd(data, n_items)
    tested = stratified_order(data.test_labels, 0)[:_TEST_ITEMS]
    images = None if data.test_images is None else data.test_images[tested]
    return replace(data.take_train(n_items, 0), test_images=images, test_labels=data.test_labels[tested])


def _few_of_crowd(data: CrowdData, n_items: int) -> CrowdData:
    chosen = _judged(data)[:n_items]
    place = np.full(data.crowd.n_items, -1)
    place[chosen] = np.arange(len(chosen))
    kept = place[data.crowd.item] >= 0
    crowd = CrowdLabels(
        place[data.crowd.item[kept]],
        data.crowd.worker[kept],
        data.crowd.label[kept],
        n_items=len(chosen),
        n_workers=data.crowd.n_workers,
        n_classes=data.crowd.n_classes,
        repeats="keep",
    )
    return replace(data, crowd=crowd, truth=data.truth[chosen], for_networks=_few_inputs(data.for_networks, chosen))


def _few_inputs(items: TrainTest | None, chosen: np.ndarray) -> TrainTest | None:
    if items is None or items.test is None or items.test_labels is None:
        return items
    tested = stratified_order(items.test_labels, 0)[:_TEST_ITEMS]
    return TrainTest(items.train[chosen], items.test[tested], items.test_labels[tested])


def _judged(data: CrowdData) -> np.ndarray:
    """The items that somebody labelled and whose true class is known, without which a cell has no error."""
    return np.flatnonzero(data.known & (data.crowd.labels_per_item > 0))


def _host_peak_mb() -> float:
    """Peak memory of this process since it began; beside a GPU the peak of the cell alone is not recorded."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
