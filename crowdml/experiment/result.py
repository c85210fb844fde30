"""CellResult: the result of one cell."""

from __future__ import annotations

from dataclasses import dataclass

from crowdml.experiment.cell import Cell


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """The result of one cell.  Every attribute except `cell`, `curves` and `workers` is a column of the results.

    Attributes:
        status: "ok" or "failed".
        error_kind: class name of the exception that ended a failed cell; None if the cell is ok, or if its process
            ended without an exception.
        error: the traceback of a failed cell, or why there is no traceback; None if the cell is ok.
        aggregation_error: share of wrong inferred labels among the training items; for real workers, among the items
            with known truth.
        aggregation_error_affected: the same share over the classes that the noise pattern can change.
        test_accuracy: share of test items that the network classifies correctly after the last epoch.
        test_accuracy_affected: the same share over the test items of the affected classes.
        confusion_error: mean total variation distance (0 to 1) between the rows of the estimated and the true
            confusion matrices of the workers, over the known rows of the true matrices.
        n_items, n_classes, n_annotations: size of the crowd.
        n_unlabelled: number of items without any annotation.
        n_iter: iterations of the aggregator.
        converged: whether the aggregator reached its tolerance.
        n_trainings: number of network trainings; each fold counts.
        images_per_second: training images seen per second of training.
        seconds: wall seconds of the cell.
        seconds_simulate, seconds_aggregate, seconds_learn: parts of `seconds`.  The trainings of a joint method count
            as aggregation, because they make the labels.
        peak_memory_mb: peak memory during the cell, in MB, of the GPU if the cell used a GPU, else of the process.
        device: name of the processor or GPU.
        curves: (step, metric, value) points.
        workers: (worker, true quality, estimated quality); qualities lie in [0, 1].
    """

    cell: Cell
    status: str
    error_kind: str | None = None
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


def failed(cell: Cell, error: str, *, kind: str | None = None, seconds: float | None = None) -> CellResult:
    """Return the result of a failed cell; `kind` is its `error_kind`, `seconds` the wall seconds until it failed."""
    return CellResult(cell=cell, status="failed", error_kind=kind, error=error, seconds=seconds)
