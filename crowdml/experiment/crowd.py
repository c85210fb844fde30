"""The crowd of a cell: simulated workers, machine annotators, or all or some labels of real workers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crowdml.datasets import CrowdData, ImageData, stratified_order
from crowdml.experiment.axes import CellError
from crowdml.experiment.cell import Cell
from crowdml.experiment.crowd_types import MachineAnnotators, Real, Simulated
from crowdml.labels import CrowdLabels
from crowdml.noise import make_assignment, make_pattern, make_workers, remove_labels, simulate_crowd
from crowdml.noise.machine_annotators import crowd_of_answers, machine_answers, make_machine_annotators
from crowdml.noise.machine_classifiers import Examples
from crowdml.noise.spread import ItemDifficulty


@dataclass(frozen=True, eq=False)
class CellCrowd:
    """The annotations that a method gets, and the truth that its results are compared with.

    The quality and matrices of simulated workers are expected values.  For machine annotators they are counted over
    all items, labelled or not.  For real workers they are counted over the labels of items with known truth.

    Args:
        crowd: the annotations.
        truth: (n_items,) true classes, -1 where unknown.
        affected: (n_classes,) the classes whose labels can be wrong.
        quality: (n_workers,) share of right labels; NaN for a worker who labelled no item with known truth.
        confusion: (n_workers, n_classes, n_classes) confusion matrices; rows without any label are NaN.
    """

    crowd: CrowdLabels
    truth: NDArray[np.int64]
    affected: NDArray[np.bool_]
    quality: NDArray[np.float64]
    confusion: NDArray[np.float64]


def cell_crowd(cell: Cell, data: ImageData | CrowdData, *, whole: ImageData | CrowdData | None = None) -> CellCrowd:
    """Return the crowd of a cell.

    Machine annotators learn from the training images of `whole` that the cell does not use, because the annotators of
    the paper learn from held-out images.  If these are too few, they learn from the images that they then label.

    Args:
        cell: the cell.
        data: the data set `cell.dataset`; for images, only the part that the cell uses.
        whole: the whole data set, or None.

    Raises:
        CellError: the cell does not fit the data.
    """
    crowd = cell.crowd
    if isinstance(data, CrowdData) != isinstance(crowd, Real):
        kind = "a crowd of real workers" if isinstance(data, CrowdData) else "images or true classes"
        raise CellError("pattern", crowd.pattern, f"does not go with the data set {data.name}, which holds {kind}")
    if isinstance(data, CrowdData):
        assert isinstance(crowd, Real)
        return _real(crowd, data, cell.crowd_seed)
    if isinstance(crowd, MachineAnnotators):
        return _by_machines(cell, crowd, data, whole)
    assert isinstance(crowd, Simulated)
    return _simulated(cell, crowd, data)


def _simulated(cell: Cell, asked: Simulated, data: ImageData) -> CellCrowd:
    pattern = make_pattern(asked.pattern, asked.noise_rate, cell.dataset, dict(asked.pattern_options))
    rng = np.random.default_rng([cell.crowd_seed, 0])
    options = dict(asked.worker_options)
    workers = make_workers(asked.worker_model, pattern, asked.n_workers, data.n_classes, rng, options)
    crowd = simulate_crowd(
        data.train_labels, workers,
        assignment=make_assignment(asked.assignment, dict(asked.assignment_options)),
        difficulty=pattern.spread if isinstance(pattern, ItemDifficulty) else 0.0,
        missing_rate=asked.missing_rate, missing=asked.missing, seed=cell.crowd_seed,
    )  # fmt: skip
    right = np.diagonal(workers.transitions, axis1=1, axis2=2)
    share = np.bincount(data.train_labels, minlength=data.n_classes) / len(data.train_labels)
    # Some workers, such as spammers, also err on classes that the pattern does not change.
    affected = pattern.affected(data.n_classes) | (right < 1).any(axis=0)
    return CellCrowd(crowd, data.train_labels, affected, right @ share, workers.transitions)


def _by_machines(
    cell: Cell, asked: MachineAnnotators, data: ImageData, whole: ImageData | CrowdData | None
) -> CellCrowd:
    if data.train_images is None:
        raise CellError("dataset", data.name, "must have images, because machine annotators look at them")
    options = make_machine_annotators(dict(asked.pattern_options))
    examples = Examples(data.train_images, data.train_labels)
    if isinstance(whole, ImageData):
        examples = _not_trained_on(cell, whole, options.n_images) or examples
    answers = machine_answers(data.train_images, examples, asked.n_workers, options=options, seed=cell.crowd_seed)
    crowd = crowd_of_answers(
        answers, data.n_classes, assignment=make_assignment(asked.assignment, dict(asked.assignment_options)),
        missing_rate=asked.missing_rate, missing=asked.missing, seed=cell.crowd_seed,
    )  # fmt: skip
    confusion = counted_confusion(CrowdLabels.from_dense(answers, n_classes=data.n_classes), data.train_labels)
    quality = (answers == data.train_labels[:, None]).mean(axis=0)
    return CellCrowd(crowd, data.train_labels, np.ones(data.n_classes, bool), quality, confusion)


def _not_trained_on(cell: Cell, whole: ImageData, n_needed: int) -> Examples | None:
    """Return the training images that the cell does not use, or None if they are too few."""
    n_items = len(whole.train_labels)
    if whole.train_images is None or cell.n_train is None or n_items - cell.n_train < n_needed:
        return None
    left = np.sort(stratified_order(whole.train_labels, cell.seed)[cell.n_train :])
    return Examples(whole.train_images[left], whole.train_labels[left])


def _real(asked: Real, data: CrowdData, seed: int) -> CellCrowd:
    crowd = data.crowd
    if asked.n_workers is not None:
        crowd = _some_workers(crowd, asked.n_workers, seed)
    crowd = remove_labels(crowd, asked.missing_rate, asked.missing, seed)
    known = data.truth[crowd.item] >= 0
    right = np.bincount(
        crowd.worker[known], weights=crowd.label[known] == data.truth[crowd.item[known]], minlength=crowd.n_workers
    )
    n_judged = np.bincount(crowd.worker[known], minlength=crowd.n_workers)
    quality = np.divide(right, n_judged, out=np.full(crowd.n_workers, np.nan), where=n_judged > 0)
    return CellCrowd(crowd, data.truth, np.ones(crowd.n_classes, bool), quality, counted_confusion(crowd, data.truth))


def counted_confusion(crowd: CrowdLabels, truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the confusion matrix of each worker, from (n_items,) true classes, -1 where unknown.

    Returns:
        (n_workers, n_classes, n_classes): entry (w, t, l) is the share of label l among the labels that worker w gave
        to items of class t.  A row is NaN if the worker labelled no item of the class.
    """
    known = truth[crowd.item] >= 0
    counts = np.zeros((crowd.n_workers, crowd.n_classes, crowd.n_classes))
    np.add.at(counts, (crowd.worker[known], truth[crowd.item[known]], crowd.label[known]), 1)
    total = counts.sum(axis=2, keepdims=True)
    return np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)


def _some_workers(crowd: CrowdLabels, n_workers: int, seed: int) -> CrowdLabels:
    """Return the labels of the first workers in a random order, numbered in that order, with all items."""
    if n_workers > crowd.n_workers:
        raise CellError("n_workers", n_workers, f"must be at most {crowd.n_workers}, the workers of the crowd")
    order = np.random.default_rng([seed, 0]).permutation(crowd.n_workers)
    place = np.empty(crowd.n_workers, np.int64)
    place[order] = np.arange(crowd.n_workers)
    chosen = place[crowd.worker] < n_workers
    return replace(
        crowd, item=crowd.item[chosen], worker=place[crowd.worker[chosen]], label=crowd.label[chosen],
        n_workers=n_workers,
        worker_ids=(np.arange(crowd.n_workers) if crowd.worker_ids is None else crowd.worker_ids)[order[:n_workers]],
        repeats="keep",
    )  # fmt: skip
