"""Results folders with cells made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from crowdml.experiment.result import CellResult, failed
from sweeps.store.result_store import ResultStore
from tests.cells import PROVENANCE, cell


def ok(error: float, accuracy: float | None = None, **changes: Any) -> CellResult:
    """Return a result with these shares, both over all classes and over the affected classes."""
    return CellResult(
        cell=cell(**changes), status="ok", seconds=1.0, device="test",
        aggregation_error=error, aggregation_error_affected=error,
        test_accuracy=accuracy, test_accuracy_affected=accuracy,
    )  # fmt: skip


def broken(**changes: Any) -> CellResult:
    """Return a failed result with a traceback that could break an HTML page."""
    return failed(cell(**changes), "Traceback: <script>alert(1)</script>", kind="RuntimeError", seconds=0.5)


def folder(path: Path, results: Sequence[CellResult]) -> Path:
    """Write the results into a results folder and return the folder."""
    store = ResultStore(path)
    store.create()
    store.write(results, PROVENANCE)
    return path


def two_methods(path: Path) -> Path:
    """Write mv and em for three seeds and two numbers of workers; em is better with 9 workers, mv with 3."""
    made = []
    for seed, shift in enumerate((-0.01, 0.0, 0.01)):
        for n_workers, mv, em in ((3, 0.5, 0.55), (9, 0.2, 0.15)):
            made.append(ok(mv + shift, 0.8 - shift, method="mv", n_workers=n_workers, seed=seed))
            made.append(ok(em + shift, 0.85 - shift, method="em", n_workers=n_workers, seed=seed))
    curves = ((1, "test_accuracy", 0.5), (2, "test_accuracy", 0.8), (1, "train_loss", 2.0))
    made[0] = replace(made[0], curves=curves)
    return folder(path, made)
