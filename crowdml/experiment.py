"""One grid cell: a Cell goes in, a CellResult comes out, in one process.

`run_cell` is the only way a cell is computed, whether from Ray, a test or a notebook.  Imports torch only for cells
that train a network.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from crowdml import methods, networks
from crowdml.aggregation.base import Aggregation
from crowdml.datasets.base import ImageData
from crowdml.labels import CrowdLabels
from crowdml.learning.recipe import Recipe
from crowdml.machine import describe_device, peak_memory_mb, reset_peak_memory
from crowdml.names import check_name
from crowdml.noise import MISSING_RULES, PATTERNS, WORKER_MODELS, make_pattern, simulate_crowd, worker_transitions
from crowdml.noise.patterns import NoisePattern

if TYPE_CHECKING:
    from torch import nn

    from crowdml.learning.base import Task

Options = tuple[tuple[str, Any], ...]


class NonFiniteResultError(ArithmeticError):
    """A cell ended with a metric that is NaN or infinite."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Everything that determines one result.

    Args:
        dataset: name of a data set.
        pattern: name of a noise pattern.
        noise_rate: probability that a worker's label is drawn by the pattern instead of being right, in [0, 1).
        n_workers: workers; each labels every item before the missing rate is applied.
        missing_rate: share of an item's labels removed, in [0, 1).
        method: name of a method.
        seed: of the crowd, the network and the training.
        network: name of a network, or None to aggregate only.
        recipe: how the network is trained; given exactly when a network is.
        n_train: training items used; None is all.
        worker_model: name of a worker model.
        missing: how a missing rate becomes a number of labels: "floor", "round" or "bernoulli".
        pattern_options: options of the noise pattern; a mapping, or (name, value) pairs.
        method_options: options of the method, likewise.

    Raises:
        ValueError: an unknown name or a value out of range, in the user's terms.
    """

    dataset: str
    pattern: str
    noise_rate: float
    n_workers: int
    missing_rate: float
    method: str
    seed: int
    network: str | None = None
    recipe: Recipe | None = None
    n_train: int | None = None
    worker_model: str = "homogeneous"
    missing: str = "floor"
    pattern_options: Options = ()
    method_options: Options = ()

    def __post_init__(self) -> None:
        for name in ("noise_rate", "missing_rate"):
            value = float(getattr(self, name))
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be in [0, 1), got {value:g}")
            object.__setattr__(self, name, value)
        if self.n_workers < 1:
            raise ValueError(f"n_workers must be at least 1, got {self.n_workers}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        check_name("noise pattern", self.pattern, PATTERNS)
        check_name("worker model", self.worker_model, WORKER_MODELS)
        check_name("missing rule", self.missing, MISSING_RULES)
        object.__setattr__(self, "method", methods.canonical(self.method))
        if self.network is not None:
            check_name("network", self.network, networks.names())
        if self.n_train is not None and self.n_train < 1:
            raise ValueError(f"n_train must be at least 1, got {self.n_train}")
        if (self.network is None) != (self.recipe is None):
            raise ValueError(f"network and recipe go together, got network={self.network!r} recipe={self.recipe!r}")
        if self.network is None and methods.trains_networks_itself(self.method):
            raise ValueError(f"method {self.method} trains a network; give network and recipe")
        for name in ("pattern_options", "method_options"):
            object.__setattr__(self, name, _freeze_options(getattr(self, name)))

    @property
    def id(self) -> str:
        """16 hexadecimal digits: a hash of the cell's content and of its method's version."""
        content = {**self.to_dict(), "method_version": methods.version(self.method)}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def crowd_seed(self) -> int:
        """Seed of the crowd: never depends on the method, the network, the missing rate or the worker count."""
        key = (self.dataset, self.n_train, self.pattern, self.noise_rate, self.pattern_options, self.worker_model)
        text = json.dumps([*key, self.seed])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

    def to_dict(self) -> dict[str, Any]:
        """The cell as JSON-able values."""
        content = {item.name: getattr(self, item.name) for item in fields(self)}
        content["recipe"] = None if self.recipe is None else asdict(self.recipe)
        content["pattern_options"] = dict(self.pattern_options)
        content["method_options"] = dict(self.method_options)
        return json.loads(json.dumps(content))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Cell:
        """The inverse of `to_dict`."""
        recipe = content["recipe"]
        return cls(**{**content, "recipe": None if recipe is None else Recipe(**recipe)})


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What one cell gave; a column of the results table each, with the cell's axes.

    Attributes:
        cell: the cell.
        status: "ok" or "failed".
        error: the traceback of a failed cell, else None.
        aggregation_error: share of training items whose inferred label is wrong.
        aggregation_error_affected: the same over the classes that the noise pattern can change.
        test_accuracy: share of test items the network classifies rightly, after the last epoch.
        test_accuracy_affected: the same over the test items of those classes.
        n_items, n_classes, n_annotations: size of the crowd.
        n_unlabelled: items without any annotation.
        n_iter: iterations of the aggregator.
        converged: whether it reached its tolerance.
        n_trainings: network trainings done, folds counted.
        images_per_second: training images seen for each second of training.
        seconds: wall seconds of the cell; `seconds_simulate`, `seconds_aggregate`, `seconds_learn` are its parts (a
            joint method's networks count as aggregation, for they make the labels).
        peak_memory_mb: peak resident memory of the process in MB during the cell; of the GPU where one was used.
        device: the processor's or GPU's name.
        curves: (step, metric, value) points.
        workers: (worker, true quality, estimated quality), qualities in [0, 1].
    """

    cell: Cell
    status: str
    error: str | None = None
    aggregation_error: float | None = None
    aggregation_error_affected: float | None = None
    test_accuracy: float | None = None
    test_accuracy_affected: float | None = None
    n_items: int | None = None
    n_classes: int | None = None
    n_annotations: int | None = None
    n_unlabelled: int | None = None
    n_iter: int | None = None
    converged: bool | None = None
    n_trainings: int | None = None
    images_per_second: float | None = None
    seconds: float | None = None
    seconds_simulate: float | None = None
    seconds_aggregate: float | None = None
    seconds_learn: float | None = None
    peak_memory_mb: float | None = None
    device: str | None = None
    curves: tuple[tuple[int, str, float], ...] = ()
    workers: tuple[tuple[int, float, float], ...] = ()


def attempt_cell(cell: Cell, data: ImageData, *, device: str = "auto") -> CellResult:
    """`run_cell`, with an exception turned into a failed result that holds its traceback."""
    start = time.perf_counter()
    try:
        return run_cell(cell, data, device=device)
    except Exception:
        return failed(cell, traceback.format_exc(), time.perf_counter() - start)


def failed(cell: Cell, error: str, seconds: float | None = None) -> CellResult:
    """The result of a cell that gave none."""
    return CellResult(cell=cell, status="failed", error=error, seconds=seconds)


def run_cell(cell: Cell, data: ImageData, *, device: str = "auto") -> CellResult:
    """Compute one cell: simulate the crowd, infer the labels, train and test the network.

    Args:
        cell: what to compute.
        data: the data set `cell.dataset`, whole.
        device: "auto" (a GPU if there is one), or a torch device name; only used with a network.

    Raises:
        NonFiniteResultError: a metric is NaN or infinite.
        ValueError: the cell does not fit the data.
    """
    if data.name != cell.dataset:
        raise ValueError(f"cell wants data set {cell.dataset}, got {data.name}")
    reset_peak_memory()
    clock = _Clock()
    data = data.take_train(cell.n_train, cell.seed)
    pattern = make_pattern(cell.pattern, cell.noise_rate, cell.dataset, dict(cell.pattern_options))
    crowd, transitions = _crowd(cell, data, pattern)
    clock.lap("simulate")

    curves: list[tuple[int, str, float]] = []
    method = methods.resolve(cell.method, dict(cell.method_options), labels_only=cell.network is None)
    task = None if cell.network is None else _task(cell, data, device, lambda *point: curves.append(point))
    model: nn.Module | None = None
    n_trainings, n_images, train_seconds = 0, 0, 0.0
    if method.source_is_joint:
        joint = method.source.fit(crowd, task, method.learner)
        aggregation, model, n_trainings = joint.aggregation, joint.model, joint.n_trainings
        n_images, train_seconds = joint.n_images, joint.seconds
    else:
        aggregation = method.source.fit(crowd)
    clock.lap("aggregate")

    if task is not None and model is None:
        from crowdml.learning.loop import train

        trained = train(method.learner, task, _target(method.learner.target, aggregation))
        model, n_trainings, n_images, train_seconds = trained.model, 1, trained.n_images, trained.seconds
    affected = pattern.affected(data.n_classes)
    wrong = aggregation.labels != data.train_labels
    accuracy = (None, None) if model is None or task is None else _accuracy(model, task, affected)
    clock.lap("learn")

    result = CellResult(
        cell=cell,
        status="ok",
        aggregation_error=float(wrong.mean()),
        aggregation_error_affected=float(wrong[affected[data.train_labels]].mean()),
        test_accuracy=accuracy[0],
        test_accuracy_affected=accuracy[1],
        n_items=crowd.n_items,
        n_classes=crowd.n_classes,
        n_annotations=crowd.n_annotations,
        n_unlabelled=aggregation.n_unlabelled,
        n_iter=aggregation.n_iter,
        converged=aggregation.converged,
        n_trainings=n_trainings,
        images_per_second=n_images / train_seconds if train_seconds > 0 else None,
        seconds=clock.total(),
        seconds_simulate=clock.laps["simulate"],
        seconds_aggregate=clock.laps["aggregate"],
        seconds_learn=clock.laps["learn"],
        peak_memory_mb=peak_memory_mb(),
        device=describe_device("cpu" if task is None else str(task.device)),
        curves=tuple(curves),
        workers=_worker_rows(transitions, data.train_labels, aggregation),
    )
    _check_finite(result, aggregation)
    return result


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


def _crowd(cell: Cell, data: ImageData, pattern: NoisePattern) -> tuple[CrowdLabels, np.ndarray]:
    rng = np.random.default_rng([cell.crowd_seed, 0])
    transitions = worker_transitions(cell.worker_model, pattern, cell.n_workers, data.n_classes, rng)
    crowd = simulate_crowd(
        data.train_labels,
        transitions,
        missing_rate=cell.missing_rate,
        missing=cell.missing,  # pyright: ignore[reportArgumentType]  # checked by Cell
        seed=cell.crowd_seed,
    )
    return crowd, transitions


def _task(cell: Cell, data: ImageData, device: str, report: Any) -> Task:
    from crowdml.learning.task import make_task

    assert cell.network is not None
    assert cell.recipe is not None
    return make_task(data, network=cell.network, recipe=cell.recipe, seed=cell.seed, device=device, report=report)


def _target(form: str, aggregation: Aggregation) -> np.ndarray:
    return aggregation.labels if form == "labels" else aggregation.posterior


def _accuracy(model: nn.Module, task: Task, affected: np.ndarray) -> tuple[float, float]:
    from crowdml.learning.loop import predict_proba

    predicted = predict_proba(model, task, task.test_images).argmax(dim=1).cpu().numpy()
    truth = task.test_labels.cpu().numpy()
    right = predicted == truth
    return float(right.mean()), float(right[affected[truth]].mean())


def _worker_rows(
    transitions: np.ndarray, truth: np.ndarray, aggregation: Aggregation
) -> tuple[tuple[int, float, float], ...]:
    if aggregation.worker_quality is None:
        return ()
    share = np.bincount(truth, minlength=transitions.shape[1]) / len(truth)
    quality = np.diagonal(transitions, axis1=1, axis2=2) @ share
    return tuple(
        (worker, float(true), float(estimated))
        for worker, (true, estimated) in enumerate(zip(quality, aggregation.worker_quality, strict=True))
    )


def _check_finite(result: CellResult, aggregation: Aggregation) -> None:
    if not np.isfinite(aggregation.posterior).all():
        raise NonFiniteResultError(f"the posterior of method {result.cell.method} holds NaN or infinity")
    for name in ("aggregation_error", "aggregation_error_affected", "test_accuracy", "test_accuracy_affected"):
        value = getattr(result, name)
        if value is not None and not math.isfinite(value):
            raise NonFiniteResultError(f"{name} of method {result.cell.method} is {value}")


def _freeze_options(options: Mapping[str, Any] | Options) -> Options:
    pairs = options.items() if isinstance(options, Mapping) else options
    return tuple(sorted((str(name), _freeze(value)) for name, value in pairs))


def _freeze(value: Any) -> Any:
    return tuple(_freeze(item) for item in value) if isinstance(value, (list, tuple)) else value
