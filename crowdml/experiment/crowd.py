"""The crowd of a cell: simulated on a data set's true classes or images, or real and perhaps thinned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from crowdml.datasets import CrowdData, ImageData, stratified_order
from crowdml.experiment.cell import MACHINES, Cell
from crowdml.labels import CrowdLabels
from crowdml.noise import make_assignment, make_pattern, make_workers, remove_labels, simulate_crowd
from crowdml.noise.machine_annotators import crowd_of_answers, machine_answers, make_machine_annotators
from crowdml.noise.machine_classifiers import Examples
from crowdml.noise.spread import ItemDifficulty

if TYPE_CHECKING:
    from crowdml.noise.missing import MissingRule


@dataclass(frozen=True, eq=False)
class CellCrowd:
    """What a method is given, and what it is judged by.

    Args:
        crowd: the annotations.
        truth: (n_items,) true classes, -1 where not known.
        affected: (n_classes,) the classes whose labels can be wrong.
        quality: (n_workers,) share of right labels: expected, if drawn by a pattern; of a machine annotator that of all
            items, asked or not; else counted where the truth is known; NaN for a worker without such labels.
        confusion: (n_workers, n_classes, n_classes) the workers' matrices, likewise; rows that cannot be counted are
            NaN.
    """

    crowd: CrowdLabels
    truth: NDArray[np.int64]
    affected: NDArray[np.bool_]
    quality: NDArray[np.float64]
    confusion: NDArray[np.float64]


def cell_crowd(cell: Cell, data: ImageData | CrowdData, *, whole: ImageData | CrowdData | None = None) -> CellCrowd:
    """The crowd of the cell; depends on no method.

    Machine annotators learn from the training images of `whole` that the cell does not train on, as the paper's do from
    images held out, where there are as many as one of them needs; else from images among those that they then label.

    Args:
        cell: what is to be computed.
        data: the data set `cell.dataset`; of images, the part of it that the cell trains on.
        whole: the data set before that part of it was taken; None where it is not at hand.

    Raises:
        ValueError: the cell does not fit the data.
    """
    if isinstance(data, CrowdData) != cell.is_real:
        kind = "a crowd of real workers" if isinstance(data, CrowdData) else "which holds images or true classes"
        raise ValueError(f"pattern {cell.pattern} does not go with the data set {data.name}, {kind}")
    if isinstance(data, CrowdData):
        return _real(cell, data)
    return _by_machines(cell, data, whole) if cell.pattern == MACHINES else _simulated(cell, data)


def _simulated(cell: Cell, data: ImageData) -> CellCrowd:
    assert cell.noise_rate is not None
    assert cell.n_workers is not None
    pattern = make_pattern(cell.pattern, cell.noise_rate, cell.dataset, dict(cell.pattern_options))
    rng = np.random.default_rng([cell.crowd_seed, 0])
    workers = make_workers(cell.worker_model, pattern, cell.n_workers, data.n_classes, rng, dict(cell.worker_options))
    crowd = simulate_crowd(
        data.train_labels,
        workers,
        assignment=make_assignment(cell.assignment, dict(cell.assignment_options)),
        difficulty=pattern.spread if isinstance(pattern, ItemDifficulty) else 0.0,
        missing_rate=cell.missing_rate,
        missing=cast("MissingRule", cell.missing),
        seed=cell.crowd_seed,
    )
    right = np.diagonal(workers.transitions, axis1=1, axis2=2)
    share = np.bincount(data.train_labels, minlength=data.n_classes) / len(data.train_labels)
    # Some workers err where the pattern does not.
    affected = pattern.affected(data.n_classes) | (right < 1).any(axis=0)
    return CellCrowd(crowd, data.train_labels, affected, right @ share, workers.transitions)


def _by_machines(cell: Cell, data: ImageData, whole: ImageData | CrowdData | None) -> CellCrowd:
    assert cell.n_workers is not None
    if data.train_images is None:
        raise ValueError(f"machine annotators look at images, and {data.name} has labels only")
    options = make_machine_annotators(dict(cell.pattern_options))
    examples = Examples(data.train_images, data.train_labels)
    if isinstance(whole, ImageData):
        examples = _not_trained_on(cell, whole, options.n_images) or examples
    answers = machine_answers(data.train_images, examples, cell.n_workers, options=options, seed=cell.crowd_seed)
    crowd = crowd_of_answers(
        answers,
        data.n_classes,
        assignment=make_assignment(cell.assignment, dict(cell.assignment_options)),
        missing_rate=cell.missing_rate,
        missing=cast("MissingRule", cell.missing),
        seed=cell.crowd_seed,
    )
    confusion = counted_confusion(CrowdLabels.from_dense(answers, n_classes=data.n_classes), data.train_labels)
    quality = (answers == data.train_labels[:, None]).mean(axis=0)
    return CellCrowd(crowd, data.train_labels, np.ones(data.n_classes, bool), quality, confusion)


def _not_trained_on(cell: Cell, whole: ImageData, n_needed: int) -> Examples | None:
    """The training images that `take_train` leaves, or None where they are fewer than needed."""
    n_items = len(whole.train_labels)
    if whole.train_images is None or cell.n_train is None or n_items - cell.n_train < n_needed:
        return None
    left = np.sort(stratified_order(whole.train_labels, cell.seed)[cell.n_train :])
    return Examples(whole.train_images[left], whole.train_labels[left])


def _real(cell: Cell, data: CrowdData) -> CellCrowd:
    crowd = data.crowd
    if cell.n_workers is not None:
        crowd = _some_workers(crowd, cell.n_workers, cell.crowd_seed)
    crowd = remove_labels(crowd, cell.missing_rate, cast("MissingRule", cell.missing), cell.crowd_seed)
    known = data.truth[crowd.item] >= 0
    right = np.bincount(
        crowd.worker[known], weights=crowd.label[known] == data.truth[crowd.item[known]], minlength=crowd.n_workers
    )
    n_judged = np.bincount(crowd.worker[known], minlength=crowd.n_workers)
    quality = np.divide(right, n_judged, out=np.full(crowd.n_workers, np.nan), where=n_judged > 0)
    return CellCrowd(crowd, data.truth, np.ones(crowd.n_classes, bool), quality, counted_confusion(crowd, data.truth))


def counted_confusion(crowd: CrowdLabels, truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n_workers, n_classes, n_classes) share of each label among a worker's answers to items of each true class.

    Args:
        crowd: the annotations.
        truth: (n_items,) true classes, -1 where not known; rows of classes that a worker met in no such item are NaN.
    """
    known = truth[crowd.item] >= 0
    counts = np.zeros((crowd.n_workers, crowd.n_classes, crowd.n_classes))
    np.add.at(counts, (crowd.worker[known], truth[crowd.item[known]], crowd.label[known]), 1)
    total = counts.sum(axis=2, keepdims=True)
    return np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)


def _some_workers(crowd: CrowdLabels, n_workers: int, seed: int) -> CrowdLabels:
    """The first workers of a random order, renumbered by it; all items stay."""
    if n_workers > crowd.n_workers:
        raise ValueError(f"n_workers must be at most {crowd.n_workers}, the workers of the crowd, got {n_workers}")
    order = np.random.default_rng([seed, 0]).permutation(crowd.n_workers)
    place = np.empty(crowd.n_workers, np.int64)
    place[order] = np.arange(crowd.n_workers)
    chosen = place[crowd.worker] < n_workers
    return CrowdLabels(
        item=crowd.item[chosen],
        worker=place[crowd.worker[chosen]],
        label=crowd.label[chosen],
        n_items=crowd.n_items,
        n_workers=n_workers,
        n_classes=crowd.n_classes,
        item_ids=crowd.item_ids,
        worker_ids=(np.arange(crowd.n_workers) if crowd.worker_ids is None else crowd.worker_ids)[order[:n_workers]],
        class_names=crowd.class_names,
        repeats="keep",
    )
