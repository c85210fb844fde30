"""CellResult: what one cell gave."""

from __future__ import annotations

from dataclasses import dataclass

from crowdml.experiment.cell import Cell


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What one cell gave; a column of the results table each, with the cell's axes.

    Attributes:
        cell: the cell.
        status: "ok" or "failed".
        error: the traceback of a failed cell, else None.
        aggregation_error: share of training items, or of a real crowd's items with known truth, whose inferred label is
            wrong.
        aggregation_error_affected: the same over the classes that the noise pattern can change.
        test_accuracy: share of test items the network classifies rightly, after the last epoch.
        test_accuracy_affected: the same over the test items of those classes.
        confusion_error: mean distance (total variation, 0 to 1) of the rows of the workers' estimated confusion
            matrices from the true ones, over the rows that are known.
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
    confusion_error: float | None = None
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


def failed(cell: Cell, error: str, seconds: float | None = None) -> CellResult:
    """The result of a cell that gave none."""
    return CellResult(cell=cell, status="failed", error=error, seconds=seconds)
