"""Probes of real networks on the processor; what a GPU would say is made up, for there is none here."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from crowdml import datasets
from crowdml.experiment.cell import Cell
from crowdml.experiment.result import CellResult
from crowdml.learning.recipe import Recipe
from sweeps.estimates import probe as probe_module
from sweeps.estimates.costs import learn_costs
from sweeps.estimates.devices import share_of_gpu
from sweeps.estimates.probe import Probe, announcement, gpu_memory_mb, known_gpu_peaks, networks_of, probe
from sweeps.store.schema import TABLES
from tests.cells import cell

RECIPE = Recipe(epochs=30, batch_size=64, lr=0.05, milestones=(10,))
GPU = "NVIDIA H200"


def trains(**changes: Any) -> Cell:
    return cell(**{"network": "cnn_digits", "recipe": RECIPE, **changes})


@pytest.fixture(scope="module")
def digits() -> dict[str, Any]:
    return {"digits": datasets.load("digits", for_networks=True)}


@pytest.fixture(scope="module")
def probed(digits: dict[str, Any]) -> Probe:
    cells = [cell(), trains(), trains(method="labnet", seed=3), trains(network="mlp256")]
    return probe(cells, digits)


def test_each_network_is_measured_once(probed: Probe) -> None:
    assert [(one.dataset, one.network) for one in probed.networks] == [("digits", "cnn_digits"), ("digits", "mlp256")]
    for one in probed.networks:
        assert one.images_per_second > 100
        assert 50 < one.host_mb < 20_000
        assert one.gpu_mb is None
        assert one.seconds < probe_module.SECONDS_PER_NETWORK
    assert probed.gpu_peaks == {}


def test_the_estimate_from_a_probe_is_near_the_truth(probed: Probe, digits: dict[str, Any]) -> None:
    """Within a factor of four: two cores are shared with whatever else runs."""
    from crowdml.experiment.run_cell import run_cell

    costs = replace(learn_costs(TABLES["cells"].empty_table().to_pandas(), gpu=False), probed=probed.speeds)
    longer = trains(recipe=replace(RECIPE, epochs=10, milestones=()))
    seconds, source = costs.estimate(longer)
    assert source == "probe"
    start = time.perf_counter()
    run_cell(longer, digits["digits"])
    assert 1 / 4 < (time.perf_counter() - start) / seconds < 4


def test_a_real_crowd(data_root: Path) -> None:
    real = {"dataset": "labelme", "pattern": "real", "noise_rate": None, "n_workers": None}
    cells = [trains(**real, network="mlp128", method="crowdlayer")]
    measured = probe(cells, {"labelme": datasets.load("labelme", for_networks=True)}).networks[0]
    assert (measured.dataset, measured.network) == ("labelme", "mlp128")
    assert measured.images_per_second > 100


def test_recipes_that_want_much_of_a_training_can_be_probed(digits: dict[str, Any]) -> None:
    recipe = replace(RECIPE, validation=0.1, patience=2, keep="best", schedule="linear", decay_from=20)
    assert probe([trains(recipe=recipe, pattern="machine_annotators", noise_rate=None)], digits).speeds


def test_what_will_be_measured_is_said_before() -> None:
    cells = [cell(), trains(), trains(seed=1), trains(network="mlp256")]
    assert networks_of(cells) == [("digits", "cnn_digits"), ("digits", "mlp256")]
    assert announcement(cells) == "probing cnn_digits on digits, mlp256 on digits; about 40 s at most"
    assert "no cell trains" in announcement([cell()])


def test_a_slow_network_is_measured_on_few_items(monkeypatch: pytest.MonkeyPatch, digits: dict[str, Any]) -> None:
    sizes = runs(monkeypatch, images_per_second=200.0)
    assert probe([trains()], digits).networks[0].images_per_second == 200
    assert sizes == [256]  # 1.3 s


def test_a_fast_network_is_measured_on_more_items(monkeypatch: pytest.MonkeyPatch, digits: dict[str, Any]) -> None:
    sizes = runs(monkeypatch, images_per_second=900.0)
    probe([trains()], digits)
    assert sizes == [256, 1024]
    sizes.clear()
    runs(monkeypatch, images_per_second=1e6, sizes=sizes)
    probe([trains()], digits)
    assert sizes == [256, 1024, 1297]


def test_no_longer_run_is_begun_that_would_take_too_long(
    monkeypatch: pytest.MonkeyPatch, digits: dict[str, Any]
) -> None:
    monkeypatch.setattr(probe_module, "SECONDS_PER_NETWORK", 0.0)
    sizes = runs(monkeypatch, images_per_second=1e6)
    probe([trains()], digits)
    assert sizes == [256]


def test_peaks_on_a_gpu(monkeypatch: pytest.MonkeyPatch, digits: dict[str, Any]) -> None:
    """The method with most networks counts, and the items that the probe left out."""
    methods: list[str] = []
    runs(monkeypatch, images_per_second=1e6, device=GPU, peaks={"mv": 100.0, "jocor3": 300.0}, methods=methods)
    several = [trains(), trains(method="jocor3", method_options={"forget_rate": 0.2}), trains(method="co_teaching")]
    measured = probe(several, digits).networks[0]
    assert methods == ["mv", "mv", "mv", "jocor3"]
    n_left_out = len(digits["digits"].test_labels) - 256
    left_out_mb = n_left_out * (digits["digits"].test_images[0].nbytes + 8) / 1e6
    assert measured.gpu_mb == pytest.approx(300 + left_out_mb)
    assert measured.host_mb > 50
    assert share_of_gpu(measured.gpu_mb or 0.0, 16_000) == 1 / 8


def runs(
    monkeypatch: pytest.MonkeyPatch,
    *,
    images_per_second: float,
    sizes: list[int] | None = None,
    device: str = "AMD EPYC",
    peaks: dict[str, float] | None = None,
    methods: list[str] | None = None,
) -> list[int]:
    """Let cells be computed at once, with these figures; returns the numbers of items that they are given."""
    seen = [] if sizes is None else sizes

    def run(given: Cell, data: Any, *, device: str = device) -> CellResult:
        seen.append(len(data.train_labels))
        if methods is not None:
            methods.append(given.method)
        peak = (peaks or {}).get(given.method, 77.0)
        return CellResult(
            cell=given, status="ok", images_per_second=images_per_second, peak_memory_mb=peak, device=name
        )

    name = device
    monkeypatch.setattr(probe_module, "run_cell", run)
    return seen


def test_peaks_that_the_results_know() -> None:
    results = pd.DataFrame(
        {
            "network": ["cnn8", "cnn8", "cnn8", None, "lenet", "lenet"],
            "dataset": ["cifar10", "cifar10", "cifar10", "cifar10", "mnist", "mnist"],
            "device": [GPU, "Tesla T4", "AMD EPYC 9654 96-Core Processor", GPU, GPU, None],
            "peak_memory_mb": [900.0, 1100.0, 5000.0, 7000.0, 300.0, 9000.0],
        }
    )
    assert known_gpu_peaks(results) == {("cifar10", "cnn8"): 1100, ("mnist", "lenet"): 300}
    assert known_gpu_peaks(TABLES["cells"].empty_table().to_pandas()) == {}


def test_without_a_gpu_there_is_no_gpu_memory() -> None:
    import torch

    assert (gpu_memory_mb() > 0) == torch.cuda.is_available()
