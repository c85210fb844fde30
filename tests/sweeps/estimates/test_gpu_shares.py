"""GPUs by measured memory; there is no GPU here, so what is measured is made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from crowdml.cli.main import parse
from crowdml.experiment.cell import Cell
from crowdml.learning.recipe import Recipe
from sweeps.estimates import gpu_shares
from sweeps.estimates.costs import learn_costs
from sweeps.estimates.gpu_shares import Measured, measure, place
from sweeps.estimates.probe import Probe, ProbedNetwork
from sweeps.store.schema import TABLES
from tests.cells import cell

KIND = ("digits", "cnn_digits")
NOTHING = TABLES["cells"].empty_table().to_pandas()
COSTS = learn_costs(NOTHING, gpu=False)
QUIET = Console(quiet=True)


def trains(**changes: Any) -> Cell:
    return cell(network="cnn_digits", recipe=Recipe(epochs=1), **changes)


def options(*arguments: str) -> Any:
    return parse(["sweep", *arguments])


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Cell]]:
    """The cells that were probed; a cell takes 2 GB of a GPU of 24."""
    calls: list[Sequence[Cell]] = []

    def run(cells: Sequence[Cell], data: Any, cpus: int, has_gpu: bool) -> tuple[Probe, float]:
        calls.append(cells)
        found = [
            ProbedNetwork(
                dataset=dataset, network=network, images_per_second=1000.0, host_mb=500.0,
                gpu_mb=2000.0 if has_gpu else None, device="a GPU", seconds=1.0,
            )
            for dataset, network in {(made.dataset, made.network): None for made in cells if made.network}
        ]  # fmt: skip
        return Probe(tuple(found)), 24_000.0 if has_gpu else 0.0

    monkeypatch.setattr(gpu_shares, "_in_own_process", run)
    return calls


def test_as_many_cells_share_a_gpu_as_its_memory_holds(probed: list[Sequence[Cell]]) -> None:
    cells = [trains(), trains(seed=1), cell()]
    measured = measure(options(), cells, NOTHING, COSTS, 2, QUIET, on_cluster=False)
    assert len(probed) == 1
    assert measured.gpu_peaks == {KIND: 2000.0}
    # 24,000 MB hold eight of 2,000 MB with a quarter more and 500 MB for CUDA.
    assert place(options(), [KIND], 2, measured, QUIET).gpus == {KIND: 1 / 8}
    larger = Measured(gpu_peaks={KIND: 6000.0}, gpu_mb=24_000.0)
    assert place(options(), [KIND], 2, larger, QUIET).gpus == {KIND: 1 / 3}


@pytest.mark.parametrize("stated", [["--gpus-per-trial", "0.5"], ["--train-workers", "2"]])
def test_what_is_stated_is_not_measured(stated: list[str], probed: list[Sequence[Cell]]) -> None:
    measured = measure(options(*stated), [trains()], NOTHING, COSTS, 2, QUIET, on_cluster=False)
    assert not probed
    assert place(options(*stated), [KIND], 2, measured, QUIET).gpus == {KIND: 0.5}


def test_without_gpus_only_a_dry_run_asks_how_fast_a_network_is(probed: list[Sequence[Cell]]) -> None:
    assert measure(options(), [trains()], NOTHING, COSTS, 0, QUIET, on_cluster=False) == Measured()
    assert not probed
    measured = measure(options("--dry-run"), [trains(), cell()], NOTHING, COSTS, 0, QUIET, on_cluster=False)
    assert probed == [[trains()]]
    costs = replace(COSTS, probed=measured.speeds)
    assert costs.source(trains()) == "probe"
    # 1,297 images at 1,000 a second, and a little for the crowd.
    assert costs.seconds(trains()) == pytest.approx(1.3, rel=0.1)


def test_peaks_of_earlier_cells_serve_instead_of_a_probe(probed: list[Sequence[Cell]]) -> None:
    row = {"dataset": "digits", "network": "cnn_digits", "device": "NVIDIA L4", "peak_memory_mb": 6000.0}
    rows = pd.DataFrame([{**dict.fromkeys(NOTHING.columns), **row, "status": "failed"}])
    measured = measure(options(), [trains()], rows, COSTS, 1, QUIET, on_cluster=False)
    # The memory of the GPU is asked for all the same.
    assert probed == [[]]
    assert measured.gpu_peaks == {KIND: 6000.0}


def test_a_dry_run_downloads_nothing(probed: list[Sequence[Cell]], monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("CROWDML_DATA_ROOT", str(tmp_path))
    console = Console(record=True, width=200)
    absent = trains(dataset="mnist")
    assert measure(options("--dry-run"), [absent], NOTHING, COSTS, 0, console, on_cluster=False) == Measured()
    assert "mnist is not downloaded, so its networks are not probed" in console.export_text()
