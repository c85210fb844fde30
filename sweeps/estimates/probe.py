"""Measure the networks of a grid on this machine before the run: images per second, and the memory of a cell."""

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
from sweeps.estimates.costs import NetworkKind, networks_at_once
from sweeps.estimates.devices import is_gpu
from sweeps.grid.grids import shorten

SECONDS_PER_NETWORK = 20.0
# The first run also starts torch, so it is repeated on more items until the training takes this long.
_STEADY_SECONDS = 1.0
_FIRST_ITEMS, _GROWTH, _TEST_ITEMS = 256, 4, 256


@dataclass(frozen=True, kw_only=True)
class ProbedNetwork:
    """What a probe measured for a network on a data set.

    Attributes:
        dataset, network: names of the data set and the network.
        images_per_second: training images per second of one network.
        host_mb: peak memory of the process with the whole data set, in MB.
        gpu_mb: peak memory on the GPU with the whole data set, in MB, for the method of the grid that trains the
            most networks; None without a GPU.
        device: name of the GPU or processor.
        seconds: wall seconds of the probe.
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
    """What a probe measured, with one entry per pair of data set and network."""

    networks: tuple[ProbedNetwork, ...]

    @property
    def speeds(self) -> dict[NetworkKind, float]:
        """Return (data set, network) -> images per second, for `CostModel`."""
        return {(one.dataset, one.network): one.images_per_second for one in self.networks}

    @property
    def gpu_peaks(self) -> dict[NetworkKind, float]:
        """Return (data set, network) -> peak memory on the GPU in MB."""
        return {(one.dataset, one.network): one.gpu_mb for one in self.networks if one.gpu_mb is not None}


def networks_of(cells: Sequence[Cell]) -> list[NetworkKind]:
    """Return the pairs of data set and network that the cells train, each once."""
    return list(dict.fromkeys((cell.dataset, cell.network) for cell in cells if cell.network is not None))


def announcement(cells: Sequence[Cell]) -> str:
    """Return one line that announces what a probe measures and how long it takes."""
    kinds = networks_of(cells)
    named = ", ".join(f"{network} on {dataset}" for dataset, network in kinds)
    seconds = SECONDS_PER_NETWORK * len(kinds)
    return f"probing {named or 'nothing: no cell trains a network'}; about {seconds:.0f} s at most"


def probe(cells: Sequence[Cell], data: Mapping[str, ImageData | CrowdData], device: str = "auto") -> Probe:
    """Train each network of the cells for one epoch on a few hundred items of each of its data sets.

    A network takes at most about SECONDS_PER_NETWORK, unless its first few hundred items take longer.

    Args:
        cells: the cells whose networks are measured; the first recipe of a network and data set is used.
        data: name of a data set -> data with the inputs of networks.
        device: a torch device name; "auto" is a GPU if there is one.

    Raises:
        KeyError: a data set is missing.
        ValueError: a data set lacks the inputs of networks.
    """
    return Probe(tuple(_probe_one(kind, cells, data[kind[0]], device) for kind in networks_of(cells)))


def known_gpu_peaks(results: pd.DataFrame) -> dict[NetworkKind, float]:
    """Return (data set, network) -> largest peak MB of cells trained on a GPU, from `ResultStore.read_cells`."""
    gpus = [name for name in results["device"].dropna().unique() if is_gpu(name)]
    trained = results[results["network"].notna() & results["device"].isin(gpus) & (results["peak_memory_mb"] > 0)]
    peaks = trained.groupby(["dataset", "network"], as_index=False)["peak_memory_mb"].max()
    return {(dataset, network): float(peak) for dataset, network, peak in peaks.itertuples(index=False)}


def gpu_memory_mb() -> float:
    """Return the memory of the smallest GPU of this machine in MB; 0 without a GPU."""
    import torch

    sizes = [torch.cuda.get_device_properties(number).total_memory for number in range(torch.cuda.device_count())]
    return min(sizes, default=0) / 1e6


def _probe_one(kind: NetworkKind, cells: Sequence[Cell], data: ImageData | CrowdData, device: str) -> ProbedNetwork:
    mine = [cell for cell in cells if (cell.dataset, cell.network) == kind]
    start = time.perf_counter()
    n_items, result = _steady_run(_simplest(mine[0]), data, device, start)
    peak = result.peak_memory_mb or 0.0
    hungriest = max(mine, key=lambda cell: networks_at_once(cell.method))
    on_gpu = is_gpu(result.device)
    if on_gpu and networks_at_once(hungriest.method) > 1:
        several = replace(_simplest(hungriest), method=hungriest.method, method_options=hungriest.method_options)
        peak = max(peak, run_cell(several, _few(data, n_items), device=device).peak_memory_mb or 0.0)
    # Training keeps all items on the device.
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
    """Return the number of items and the result of the first run that is long enough, else of the last run."""
    assert cell.training is not None
    n_all = _n_items(data)
    n_items = min(n_all, max(_FIRST_ITEMS, 2 * cell.training.recipe.batch_size))
    while True:
        before = time.perf_counter()
        result = run_cell(cell, _few(data, n_items), device=device)
        now = time.perf_counter()
        assert result.images_per_second is not None
        steady = n_items / result.images_per_second >= _STEADY_SECONDS
        in_time = now - start + _GROWTH * (now - before) <= SECONDS_PER_NETWORK
        if steady or n_items == n_all or not in_time:
            return n_items, result
        n_items = min(n_all, n_items * _GROWTH)


def _simplest(cell: Cell) -> Cell:
    """Return a cell that trains the network of a cell for one epoch, with a fast crowd and method."""
    assert cell.training is not None
    crowd = Real() if isinstance(cell.crowd, Real) else Simulated(pattern="uniform", noise_rate=0.0, n_workers=1)
    recipe = replace(shorten(cell.training.recipe, 1), patience=None, keep="last")
    training = replace(cell.training, recipe=recipe)
    return Cell(dataset=cell.dataset, crowd=crowd, method="mv", training=training, seed=0)


def _n_items(data: ImageData | CrowdData) -> int:
    return len(data.train_labels) if isinstance(data, ImageData) else len(_judged(data))


def _few(data: ImageData | CrowdData, n_items: int) -> ImageData | CrowdData:
    """Return the data with this many training items and a few test items."""
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
    """Return the items with labels and a known true class; only these give a cell an error."""
    return np.flatnonzero(data.known & (data.crowd.labels_per_item > 0))


def _host_peak_mb() -> float:
    """Return the peak memory of this process since it began, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
