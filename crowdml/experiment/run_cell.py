"""Compute one grid cell in one process: `run_cell` turns a Cell into a CellResult.

`run_cell` imports torch only for a cell that trains a network.
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
from crowdml.experiment.axes import CellError
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

    from crowdml.joint.joint_result import JointResult
    from crowdml.learning.task import Task

CURVES = "curves.jsonl"
"""Name of the file of learning curves in the folder of checkpoints of a cell."""


class NonFiniteResultError(ArithmeticError):
    """A metric of a cell is NaN or infinite."""


def attempt_cell(
    cell: Cell,
    data: ImageData | CrowdData,
    *,
    device: str = "auto",
    shared: SharedWork | None = None,
    checkpoints: Path | None = None,
) -> CellResult:
    """Compute one cell as `run_cell` does, but return an exception as a failed result."""
    start = time.perf_counter()
    try:
        return run_cell(cell, data, device=device, shared=shared, checkpoints=checkpoints)
    except Exception as error:
        seconds = time.perf_counter() - start
        return failed(cell, traceback.format_exc(), kind=type(error).__name__, seconds=seconds)


def run_cell(
    cell: Cell,
    data: ImageData | CrowdData,
    *,
    device: str = "auto",
    shared: SharedWork | None = None,
    checkpoints: Path | None = None,
) -> CellResult:
    """Compute one cell: get the crowd, infer the labels, train and test the network.

    Args:
        cell: the cell.
        data: the whole data set `cell.dataset`.
        device: name of the torch device for training; "auto" is a GPU if there is one.
        shared: results of work of earlier cells, which are used again.  The seconds of this work count only there.
        checkpoints: a folder for this cell only, where its trainings keep their state.  The cell continues from the
            state that an interrupted computation left there.

    Raises:
        NonFiniteResultError: a metric is NaN or infinite.
        ValueError: the cell does not fit the data.
    """
    if data.name != cell.dataset:
        raise CellError("dataset", cell.dataset, f"must be {data.name}, the data set given")
    clock = _Clock()
    reset_peak_memory()
    shared = shared or SharedWork()
    whole, part = data, _items_key(cell)
    if isinstance(whole, ImageData):
        data = shared.get("items", part, lambda: whole.take_train(cell.n_train, cell.seed))
    given = shared.get("crowd", cell.crowd_key, lambda: cell_crowd(cell, data, whole=whole))
    crowd = given.crowd
    clock.lap("simulate")

    curves = _Curves(checkpoints)
    method = methods.resolve(cell.method, dict(cell.method_options), labels_only=cell.training is None)
    task: Task | None = None
    if cell.training is not None:
        task = _task(cell, data, given.truth, device, shared, Observers(report=curves.add, checkpoints=checkpoints))
    found: Aggregation | None = None
    if not method.source_is_joint:
        found = shared.get("labels", (cell.crowd_key, method.source), lambda: method.source.fit(crowd))
        clock.lap("aggregate")
    trained: JointResult | None = None
    if task is not None:
        from crowdml.methods.carry_out import carry_out

        trained = carry_out(method, crowd, task, found)
    if found is None:
        clock.lap("aggregate")
    aggregation = found if trained is None else trained.aggregation
    assert aggregation is not None, "Cell requires a network for a joint method"
    known = given.truth >= 0
    wrong, truth = aggregation.labels[known] != given.truth[known], given.truth[known]
    accuracy = (None, None) if trained is None or task is None else _accuracy(trained.model, task, given.affected)
    clock.lap("learn")

    result = CellResult(
        cell=cell, status="ok",
        aggregation_error=float(wrong.mean()), aggregation_error_affected=float(wrong[given.affected[truth]].mean()),
        test_accuracy=accuracy[0], test_accuracy_affected=accuracy[1],
        confusion_error=_confusion_error(given.confusion, aggregation.confusion),
        n_items=crowd.n_items, n_classes=crowd.n_classes, n_annotations=crowd.n_annotations,
        n_unlabelled=aggregation.n_unlabelled, n_iter=aggregation.n_iter, converged=aggregation.converged,
        n_trainings=0 if trained is None else trained.n_trainings,
        images_per_second=trained.n_images / trained.seconds if trained is not None and trained.seconds > 0 else None,
        seconds=clock.total(), seconds_simulate=clock.laps["simulate"],
        seconds_aggregate=clock.laps["aggregate"], seconds_learn=clock.laps["learn"],
        peak_memory_mb=peak_memory_mb(), device=describe_device("cpu" if task is None else str(task.device)),
        curves=curves.points(), workers=_worker_rows(given, aggregation),
    )  # fmt: skip
    _check_finite(result, aggregation)
    return result


class _Curves:
    """The points of the learning curves, in memory and, with a folder of checkpoints, also in a file."""

    def __init__(self, checkpoints: Path | None) -> None:
        self._points: list[Point] = []
        self._kept: KeptCurves | None = None
        if checkpoints is not None:
            from crowdml.learning import parallel

            if parallel.rank() == 0:  # one process writes the file
                self._kept = KeptCurves(checkpoints / CURVES)

    def add(self, step: int, metric: str, value: float) -> None:
        self._points.append((step, metric, value))
        if self._kept is not None:
            self._kept.keep(step, metric, value)

    def points(self) -> tuple[Point, ...]:
        if self._kept is None:
            return tuple(self._points)
        # Points from before a restart exist only on disk.
        latest = {(step, metric): value for step, metric, value in (*self._kept.points(), *self._points)}
        return tuple((step, metric, value) for (step, metric), value in sorted(latest.items(), key=lambda at: at[0][0]))


class _Clock:
    """The wall seconds of each phase of a cell."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.laps[phase] = now - self._last
        self._last = now

    def total(self) -> float:
        return time.perf_counter() - self._start


def _items_key(cell: Cell) -> tuple[Any, ...]:
    """Return all values on which the training items of the cell depend."""
    return (cell.dataset, cell.n_train, None if cell.n_train is None else cell.seed)


def _task(
    cell: Cell, data: ImageData | CrowdData, truth: np.ndarray, device: str, shared: SharedWork, observers: Observers
) -> Task:
    from crowdml.learning.inputs import in_memory
    from crowdml.learning.task import make_task

    training = cell.training
    assert training is not None
    if data.for_networks is None:
        reason = "has labels only" if isinstance(data, ImageData) else "was loaded without its items (for_networks)"
        raise ValueError(f"data set {data.name} {reason}; a network needs images or features")
    items, form = data.for_networks, training.recipe.inputs
    inputs, test_inputs = shared.get(
        "inputs", (_items_key(cell), form, device), lambda: in_memory(items.train, items.test, form, device)
    )
    return make_task(
        inputs, data.n_classes, TrainingSettings(training.network, training.recipe, cell.seed),
        test_inputs=test_inputs, test_labels=items.test_labels, observers=observers, truth=truth,
    )  # fmt: skip


def _accuracy(model: nn.Module, task: Task, affected: np.ndarray) -> tuple[float, float]:
    """Return the accuracy over all test items and over the affected classes, as the mean over all networks."""
    from crowdml.learning.evaluate import predict_members

    assert task.test_inputs is not None
    assert task.test_labels is not None
    predicted = predict_members(model, task, task.test_inputs).argmax(dim=2).cpu().numpy()
    truth = task.test_labels.cpu().numpy()
    right = predicted == truth
    return float(right.mean()), float(right[:, affected[truth]].mean())


def _confusion_error(true: np.ndarray, estimated: np.ndarray) -> float | None:
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
