"""One grid cell: a Cell goes in, a CellResult comes out, in one process.

`run_cell` is the only way a cell is computed, whether from Ray, a test or a notebook.  Imports torch only for cells
that train a network.
"""

from __future__ import annotations

import math
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crowdml import methods
from crowdml.aggregation.aggregator import Aggregation
from crowdml.datasets import CrowdData, ImageData
from crowdml.experiment.cell import Cell
from crowdml.experiment.crowd import CellCrowd, cell_crowd
from crowdml.experiment.result import CellResult, failed
from crowdml.experiment.shared_work import SharedWork
from crowdml.learning.curves import KeptCurves, Point
from crowdml.learning.observers import Observers
from crowdml.learning.recipe import TrainingSettings
from crowdml.support.device_info import describe_device, peak_memory_mb, reset_peak_memory

if TYPE_CHECKING:
    from torch import nn

    from crowdml.joint.result import JointResult
    from crowdml.learning.task import Task

__all__ = ["Cell", "CellResult", "NonFiniteResultError", "attempt_cell", "failed", "run_cell"]


CURVES = "curves.jsonl"
"""The learning curves in a cell's folder of checkpoints."""


class NonFiniteResultError(ArithmeticError):
    """A cell ended with a metric that is NaN or infinite."""


def attempt_cell(
    cell: Cell,
    data: ImageData | CrowdData,
    *,
    device: str = "auto",
    shared: SharedWork | None = None,
    checkpoints: Path | None = None,
) -> CellResult:
    """`run_cell`, with an exception turned into a failed result that holds its traceback."""
    start = time.perf_counter()
    try:
        return run_cell(cell, data, device=device, shared=shared, checkpoints=checkpoints)
    except Exception:
        return failed(cell, traceback.format_exc(), time.perf_counter() - start)


def run_cell(
    cell: Cell,
    data: ImageData | CrowdData,
    *,
    device: str = "auto",
    shared: SharedWork | None = None,
    checkpoints: Path | None = None,
) -> CellResult:
    """Compute one cell: simulate the crowd, or take the real one, infer the labels, train and test the network.

    Args:
        cell: what to compute.
        data: the data set `cell.dataset`, whole.
        device: "auto" (a GPU if there is one), or a torch device name; only used with a network.
        shared: work of the cells before this one, so that it is not done again; its seconds are in their results.
        checkpoints: a folder of this cell alone, in which its trainings keep their state; with what an interrupted
            computation left there, the cell goes on from where that was.

    Raises:
        NonFiniteResultError: a metric is NaN or infinite.
        ValueError: the cell does not fit the data.
    """
    if data.name != cell.dataset:
        raise ValueError(f"cell wants data set {cell.dataset}, got {data.name}")
    clock = _Clock()
    reset_peak_memory()
    shared = shared or SharedWork()
    whole, part = data, _items_key(cell)
    if isinstance(whole, ImageData):
        data = shared.get("items", part, lambda: whole.take_train(cell.n_train, cell.seed))
    given = shared.get("crowd", cell.crowd_key, lambda: cell_crowd(cell, data, whole=whole))
    crowd = given.crowd
    clock.lap("simulate")

    curves = _Curves(_kept_curves(checkpoints))
    method = methods.resolve(cell.method, dict(cell.method_options), labels_only=cell.network is None)
    task: Task | None = None
    if cell.network is not None:
        task = _task(cell, data, given.truth, device, shared, Observers(report=curves.add, checkpoints=checkpoints))
    trained: JointResult | None = None
    if method.source_is_joint:
        from crowdml.methods.carry_out import carry_out

        assert task is not None
        trained = carry_out(method, crowd, task)
        aggregation = trained.aggregation
    else:
        aggregation = shared.get("labels", (cell.crowd_key, method.source), lambda: method.source.fit(crowd))
    clock.lap("aggregate")

    if task is not None and trained is None:
        from crowdml.methods.carry_out import carry_out

        trained = carry_out(method, crowd, task, aggregation)
    known = given.truth >= 0
    wrong, truth = aggregation.labels[known] != given.truth[known], given.truth[known]
    accuracy = (None, None) if trained is None or task is None else _accuracy(trained.model, task, given.affected)
    clock.lap("learn")

    result = CellResult(
        cell=cell,
        status="ok",
        aggregation_error=float(wrong.mean()),
        aggregation_error_affected=float(wrong[given.affected[truth]].mean()),
        test_accuracy=accuracy[0],
        test_accuracy_affected=accuracy[1],
        confusion_error=_confusion_error(given.confusion, aggregation.confusion),
        n_items=crowd.n_items,
        n_classes=crowd.n_classes,
        n_annotations=crowd.n_annotations,
        n_unlabelled=aggregation.n_unlabelled,
        n_iter=aggregation.n_iter,
        converged=aggregation.converged,
        n_trainings=0 if trained is None else trained.n_trainings,
        images_per_second=trained.n_images / trained.seconds if trained is not None and trained.seconds > 0 else None,
        seconds=clock.total(),
        seconds_simulate=clock.laps["simulate"],
        seconds_aggregate=clock.laps["aggregate"],
        seconds_learn=clock.laps["learn"],
        peak_memory_mb=peak_memory_mb(),
        device=describe_device("cpu" if task is None else str(task.device)),
        curves=curves.points(),
        workers=_worker_rows(given, aggregation),
    )
    _check_finite(result, aggregation)
    return result


class _Curves:
    """Points of the learning curves; kept in a file too, where the cell may be interrupted."""

    def __init__(self, kept: KeptCurves | None) -> None:
        self._kept = kept
        self._points: list[Point] = []

    def add(self, step: int, metric: str, value: float) -> None:
        self._points.append((step, metric, value))
        if self._kept is not None:
            self._kept.keep(step, metric, value)

    def points(self) -> tuple[Point, ...]:
        if self._kept is None:
            return tuple(self._points)
        # Those of before an interruption are in the file alone.
        latest = {(step, metric): value for step, metric, value in (*self._kept.points(), *self._points)}
        return tuple((step, metric, value) for (step, metric), value in sorted(latest.items(), key=lambda at: at[0][0]))


class _Clock:
    """Wall seconds of the phases of a cell."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.laps[phase] = now - self._last
        self._last = now

    def total(self) -> float:
        return time.perf_counter() - self._start


def _kept_curves(checkpoints: Path | None) -> KeptCurves | None:
    """The curves in the folder of checkpoints; of several processes that train together the first one keeps them."""
    if checkpoints is None:
        return None
    from crowdml.learning import parallel

    return KeptCurves(checkpoints / CURVES) if parallel.rank() == 0 else None


def _items_key(cell: Cell) -> tuple[Any, ...]:
    """What the items that the cell trains on depend on."""
    return (cell.dataset, cell.n_train, None if cell.n_train is None else cell.seed)


def _task(
    cell: Cell,
    data: ImageData | CrowdData,
    truth: np.ndarray,
    device: str,
    shared: SharedWork,
    observers: Observers,
) -> Task:
    from crowdml.learning.inputs import in_memory
    from crowdml.learning.task import make_task

    assert cell.network is not None
    assert cell.recipe is not None
    if data.for_networks is None:
        reason = "has labels only" if isinstance(data, ImageData) else "was loaded without its items (for_networks)"
        raise ValueError(f"data set {data.name} {reason}; a network needs images or features")
    items, form = data.for_networks, cell.recipe.inputs
    inputs, test_inputs = shared.get(
        "inputs", (_items_key(cell), form, device), lambda: in_memory(items.train, items.test, form, device)
    )
    return make_task(
        inputs,
        data.n_classes,
        TrainingSettings(cell.network, cell.recipe, cell.seed),
        test_inputs=test_inputs,
        test_labels=items.test_labels,
        observers=observers,
        truth=truth,
    )


def _accuracy(model: nn.Module, task: Task, affected: np.ndarray) -> tuple[float, float]:
    """Over all test items and over those of the affected classes; of several networks the mean of theirs."""
    from crowdml.learning.evaluate import predict_members

    assert task.test_inputs is not None
    assert task.test_labels is not None
    predicted = predict_members(model, task, task.test_inputs).argmax(dim=2).cpu().numpy()
    truth = task.test_labels.cpu().numpy()
    right = predicted == truth
    return float(right.mean()), float(right[:, affected[truth]].mean())


def _confusion_error(true: np.ndarray, estimated: np.ndarray) -> float | None:
    """Mean total variation distance of the rows; None where no true row is known."""
    distance = np.abs(true - estimated).sum(axis=2) / 2
    known = np.isfinite(distance)
    return float(distance[known].mean()) if known.any() else None


def _worker_rows(given: CellCrowd, aggregation: Aggregation) -> tuple[tuple[int, float, float], ...]:
    return tuple(
        (worker, float(true), float(estimated))
        for worker, (true, estimated) in enumerate(zip(given.quality, aggregation.worker_quality, strict=True))
    )


def _check_finite(result: CellResult, aggregation: Aggregation) -> None:
    if not np.isfinite(aggregation.posterior).all():
        raise NonFiniteResultError(f"the posterior of method {result.cell.method} holds NaN or infinity")
    for name in ("aggregation_error", "aggregation_error_affected", "test_accuracy", "test_accuracy_affected"):
        value = getattr(result, name)
        if value is not None and not math.isfinite(value):
            raise NonFiniteResultError(f"{name} of method {result.cell.method} is {value}")
