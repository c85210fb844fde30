"""The objective: the value of a point, computed without the test labels.

With a network, the search holds items out of the training.  Clean validation is the network's accuracy on the true
classes of these items.  Noisy validation is the network's accuracy on the majority labels of these items, which needs
no true class.

Without a network, clean validation uses the true classes of a share of the items and measures the accuracy of their
inferred labels.  Noisy validation holds out single annotations and measures their mean log-likelihood under the
aggregation of the other annotations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crowdml import methods
from crowdml.aggregation import Aggregation, MajorityVote
from crowdml.aggregation.aggregator import fractional_error
from crowdml.datasets import CrowdData, ImageData, stratified_order
from crowdml.datasets.data import TrainTest
from crowdml.experiment.cell import Cell
from crowdml.experiment.crowd import CellCrowd, cell_crowd
from crowdml.experiment.run_cell import run_cell
from crowdml.labels import CrowdLabels
from crowdml.learning.observers import Observers
from crowdml.learning.recipe import TrainingSettings
from crowdml.support.search_space import Value
from sweeps.tuning.search import Search

if TYPE_CHECKING:
    from crowdml.learning.task import Task

DataSet = ImageData | CrowdData
OnEpoch = Callable[[float], None]
"""Receives the value so far after each epoch; may raise an exception to end the trial."""

_MIN_PROBABILITY = 1e-12
"""Lower bound of an annotation's probability, so that one impossible annotation does not outweigh all others."""


@dataclass(frozen=True)
class Evaluation:
    """The value of a point: the mean of the values by seed (higher is better), and the wall seconds of all seeds."""

    value: float
    seconds: float
    by_seed: tuple[float, ...]


def evaluate_point(search: Search, point: Mapping[str, Value], data: DataSet, on_epoch: OnEpoch) -> Evaluation:
    """Return the value of a point (option -> value) on the whole data set.

    After each epoch of each seed, `on_epoch` receives the mean over the finished seeds and the running seed.
    """
    start = time.perf_counter()
    finished: list[float] = []

    def on_epoch_of_seed(value: float) -> None:
        on_epoch((sum(finished) + value) / (len(finished) + 1))

    for seed in search.seeds:
        finished.append(evaluate_cell(search, search.cell_at(point, seed), data, on_epoch_of_seed))
    return Evaluation(sum(finished) / len(finished), time.perf_counter() - start, tuple(finished))


def evaluate_cell(search: Search, cell: Cell, data: DataSet, on_epoch: OnEpoch) -> float:
    """Return the value of one cell under the search's objective.

    Raises:
        ValueError: there are no items or annotations to validate on.
    """
    if cell.training is not None:
        return _evaluate_network(search, cell, data, on_epoch)
    given = _crowd_and_items(cell, data)[0]
    if search.objective == "clean_validation":
        held_out = held_out_items(search, cell, given)
        value = 1 - fractional_error(_aggregate(cell, given.crowd).posterior, given.truth, held_out)
    else:
        held_out = held_out_annotations(given.crowd, search.share, cell.seed)
        value = _log_likelihood(given.crowd.select(held_out), _aggregate(cell, given.crowd.select(~held_out)))
    on_epoch(value)
    return value


def accuracy_on_test(search: Search, cell: Cell, data: DataSet) -> float:
    """Return the test accuracy of a cell; call it only after the search.

    With a network, trains on all training items and returns the accuracy on the test items.  Without a network, returns
    the accuracy of the inferred labels on the items whose true class the search has not used.
    """
    if cell.training is not None:
        accuracy = run_cell(cell, data).test_accuracy
        assert accuracy is not None
        return accuracy
    given = _crowd_and_items(cell, data)[0]
    tested = given.truth >= 0
    if search.objective == "clean_validation":
        tested &= ~held_out_items(search, cell, given)
    return 1 - fractional_error(_aggregate(cell, given.crowd).posterior, given.truth, tested)


def held_out_items(search: Search, cell: Cell, given: CellCrowd) -> NDArray[np.bool_]:
    """Return (n_items,) True for the items to validate on.

    The cell's seed decides the draw, which is stratified by the validation labels.

    Raises:
        ValueError: the share holds out no item or all items.
    """
    labels = validation_labels(search, cell, given)
    eligible = np.flatnonzero(labels >= 0)
    n_held_out = round(search.share * len(eligible))
    if not 0 < n_held_out < len(labels):
        raise ValueError(
            f"{search.share:g} of the {len(eligible)} items with a validation label leaves no item to validate on or "
            "no item to learn from; change --validation or the objective"
        )
    held_out = np.zeros(len(labels), bool)
    held_out[eligible[stratified_order(labels[eligible], cell.seed)[:n_held_out]]] = True
    return held_out


def validation_labels(search: Search, cell: Cell, given: CellCrowd) -> NDArray[np.int64]:
    """Return (n_items,) the labels to validate on; -1 if unknown.

    They are the true classes for clean validation, and the majority labels for noisy validation.  Ties of the majority
    are broken at random, because otherwise the first classes would be too frequent.
    """
    if search.objective == "clean_validation":
        return given.truth
    majority = MajorityVote(ties="random", seed=cell.seed).fit(given.crowd).labels
    return np.where(given.crowd.labels_per_item > 0, majority, -1)


def held_out_annotations(crowd: CrowdLabels, share: float, seed: int) -> NDArray[np.bool_]:
    """Return (n_annotations,) True for one annotation of each item in a random share of the items.

    Only items with two or more annotations are drawn, so that every item keeps an annotation.

    Raises:
        ValueError: the share holds out no annotation.
    """
    rng = np.random.default_rng([seed, 2])
    order = rng.permutation(crowd.n_annotations)
    items, first = np.unique(crowd.item[order], return_index=True)
    several = np.flatnonzero(crowd.labels_per_item[items] > 1)
    n_held_out = round(share * len(several))
    if n_held_out == 0:
        raise ValueError(
            "noisy validation of an aggregator holds out annotations of items that have two or more annotations, but "
            f"the crowd has only {len(several)} such items; use more workers or clean_validation"
        )
    held_out = np.zeros(crowd.n_annotations, bool)
    held_out[order[first[rng.permutation(several)[:n_held_out]]]] = True
    return held_out


def crowd_of_items(crowd: CrowdLabels, items: NDArray[np.bool_]) -> CrowdLabels:
    """Return the annotations of the items where the mask (n_items,) is True; these items get new numbers."""
    chosen = items[crowd.item]
    item, worker, label = (np.cumsum(items) - 1)[crowd.item[chosen]], crowd.worker[chosen], crowd.label[chosen]
    n_items = int(items.sum())
    return CrowdLabels(item, worker, label, n_items, crowd.n_workers, crowd.n_classes, repeats="keep")


@dataclass(frozen=True, eq=False)
class ValidationSplit:
    """The training items of a cell, split into items to train on and items to validate on.

    Attributes:
        crowd: the annotations of the items to train on.
        items: the inputs of the items to train on; the held-out items and their validation labels as test items.
        truth: (n_items,) true classes of the items to train on, for the genie-aided baselines.
    """

    crowd: CrowdLabels
    items: TrainTest
    truth: NDArray[np.int64]


def split_for_validation(search: Search, cell: Cell, data: DataSet) -> ValidationSplit:
    """Split a cell's training items; the test items of the data set are in neither part.

    Raises:
        ValueError: the data set has no inputs, or there are no items to validate on.
    """
    given, part = _crowd_and_items(cell, data)
    if part.for_networks is None:
        raise ValueError(f"data set {part.name} was loaded without the items of its crowd; a network needs them")
    held_out = held_out_items(search, cell, given)
    inputs = part.for_networks.train
    return ValidationSplit(
        crowd_of_items(given.crowd, ~held_out),
        TrainTest(inputs[~held_out], inputs[held_out], validation_labels(search, cell, given)[held_out]),
        given.truth[~held_out],
    )


def validation_task(split: ValidationSplit, cell: Cell, observers: Observers | None = None) -> Task:
    """Return the task of training a cell's network on a split; this function imports torch.

    The metric "test_accuracy" that the observers receive is the validation accuracy.
    """
    from crowdml.learning.inputs import in_memory
    from crowdml.learning.task import make_task

    training = cell.training
    assert training is not None
    inputs, held_out = in_memory(split.items.train, split.items.test, training.recipe.inputs)
    settings = TrainingSettings(training.network, training.recipe, cell.seed)
    labels = split.items.test_labels
    return make_task(
        inputs, split.crowd.n_classes, settings,
        test_inputs=held_out, test_labels=labels, observers=observers, truth=split.truth,
    )  # fmt: skip


def _evaluate_network(search: Search, cell: Cell, data: DataSet, on_epoch: OnEpoch) -> float:
    from crowdml.learning.evaluate import accuracies
    from crowdml.methods.carry_out import carry_out

    def report(step: int, metric: str, value: float) -> None:
        if metric == "test_accuracy":  # the held-out items take the place of the test items
            on_epoch(value)

    split = split_for_validation(search, cell, data)
    task = validation_task(split, cell, Observers(report=report))
    method = methods.resolve(cell.method, dict(cell.method_options))
    return accuracies(carry_out(method, split.crowd, task).model, task)["test_accuracy"]


def _crowd_and_items(cell: Cell, data: DataSet) -> tuple[CellCrowd, Any]:
    """Return the crowd of a cell, and the part of the data set that the crowd labels."""
    part = data.take_train(cell.n_train, cell.seed) if isinstance(data, ImageData) else data
    return cell_crowd(cell, part, whole=data), part


def _aggregate(cell: Cell, crowd: CrowdLabels) -> Aggregation:
    return methods.resolve(cell.method, dict(cell.method_options), labels_only=True).source.fit(crowd)


def _log_likelihood(crowd: CrowdLabels, aggregation: Aggregation) -> float:
    """Return the mean over the annotations of log sum_c q_c A_w[c, l]."""
    of_label = aggregation.confusion[crowd.worker, :, crowd.label]
    probability = (aggregation.posterior[crowd.item] * of_label).sum(axis=1)
    return float(np.log(np.maximum(probability, _MIN_PROBABILITY)).mean())
