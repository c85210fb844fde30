"""The value of a point, found without a look at the test labels.

With a network, items are held out of its training.  Clean validation is the network's accuracy on them by their true
classes; noisy validation is its agreement with the majority of their annotations, which a user has without any truth.

Without one, clean validation takes the true classes of a share of the items, and is the accuracy of their inferred
labels; noisy validation holds single annotations back, and is their mean log-likelihood under what the aggregator
concludes from the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crowdml import methods
from crowdml.aggregation import MajorityVote
from crowdml.aggregation.aggregator import fractional_error
from crowdml.datasets import CrowdData, ImageData, stratified_order
from crowdml.datasets.data import TrainTest
from crowdml.experiment.cell import Cell
from crowdml.experiment.crowd import CellCrowd, cell_crowd
from crowdml.experiment.run_cell import run_cell
from crowdml.labels import CrowdLabels
from crowdml.support.search_space import Value
from sweeps.tuning.search import Search

Data = ImageData | CrowdData
Watch = Callable[[float], None]
"""Is told the value so far, after every epoch; may raise to end the trial."""

_FLOOR = 1e-12
"""The least probability of an annotation: one that a method holds impossible must not outweigh all others."""


@dataclass(frozen=True)
class Evaluation:
    """What a point is worth.

    Attributes:
        value: mean of `by_seed`; more is better.
        seconds: wall seconds, of all seeds.
        by_seed: one value a seed.
    """

    value: float
    seconds: float
    by_seed: tuple[float, ...]


def evaluate(
    search: Search, point: Mapping[str, Value], data: Data, watch: Watch, *, device: str = "auto"
) -> Evaluation:
    """The value of a point.

    Args:
        search: says how it is judged.
        point: option -> value.
        data: the data set, whole.
        watch: after every epoch of every seed, the mean of the seeds done and of the running one so far.
        device: see `run_cell`.
    """
    start = time.perf_counter()
    done: list[float] = []
    for seed in search.seeds:

        def so_far(value: float) -> None:
            watch((sum(done) + value) / (len(done) + 1))

        done.append(validate(search, search.cell_at(point, seed), data, so_far, device=device))
    return Evaluation(sum(done) / len(done), time.perf_counter() - start, tuple(done))


def validate(search: Search, cell: Cell, data: Data, watch: Watch, *, device: str = "auto") -> float:
    """The value of one cell by the search's objective.

    Raises:
        ValueError: no truth, or no annotations, to judge by.
    """
    given, part = _given(cell, data)
    if cell.network is not None:
        return _validate_network(search, cell, part, given, watch, device)
    method = methods.resolve(cell.method, dict(cell.method_options), labels_only=True)
    if search.objective == "clean_validation":
        gold = held_out_items(search, cell, given)
        posterior = method.source.fit(given.crowd).posterior
        value = 1 - fractional_error(posterior, given.truth, gold)
    else:
        held_out = held_out_annotations(given.crowd, search.share, cell.seed)
        aggregation = method.source.fit(given.crowd.select(~held_out))
        value = _log_likelihood(given.crowd.select(held_out), aggregation.posterior, aggregation.confusion)
    watch(value)
    return value


def accuracy_on_test(search: Search, cell: Cell, data: Data, *, device: str = "auto") -> float:
    """What the point is worth where it counts, to be asked once the search is over.

    With a network, its accuracy on the test items, trained on all training items; else the accuracy of the inferred
    labels, without the items whose truth the search was told.
    """
    if cell.network is not None:
        accuracy = run_cell(cell, data, device=device).test_accuracy
        assert accuracy is not None
        return accuracy
    given, _ = _given(cell, data)
    counted = given.truth >= 0
    if search.objective == "clean_validation":
        counted &= ~held_out_items(search, cell, given)
    method = methods.resolve(cell.method, dict(cell.method_options), labels_only=True)
    return 1 - fractional_error(method.source.fit(given.crowd).posterior, given.truth, counted)


def held_out_items(search: Search, cell: Cell, given: CellCrowd) -> NDArray[np.bool_]:
    """(n_items,) the items to judge by, drawn by the cell's seed in proportion to the labels they are judged by.

    Raises:
        ValueError: there are none to draw from, or all would be held out.
    """
    labels = judged_by(search, cell, given)
    eligible = np.flatnonzero(labels >= 0)
    n_held_out = round(search.share * len(eligible))
    if not 0 < n_held_out < len(labels):
        raise ValueError(
            f"{search.share:g} of the {len(eligible)} items with a label to judge by leaves nothing to judge by "
            "or nothing to learn from; change --validation or the objective"
        )
    chosen = np.zeros(len(labels), bool)
    chosen[eligible[stratified_order(labels[eligible], cell.seed)[:n_held_out]]] = True
    return chosen


def judged_by(search: Search, cell: Cell, given: CellCrowd) -> NDArray[np.int64]:
    """(n_items,) the true classes or the majority's labels, -1 where there are none.

    Ties of the majority are broken at random, or the first classes would seem more frequent than they are.
    """
    if search.objective == "clean_validation":
        return given.truth
    majority = MajorityVote(ties="random", seed=cell.seed).fit(given.crowd).labels
    return np.where(given.crowd.labels_per_item > 0, majority, -1)


def held_out_annotations(crowd: CrowdLabels, share: float, seed: int) -> NDArray[np.bool_]:
    """(n_annotations,) one annotation of each of a share of the items with two or more; the others stay.

    Raises:
        ValueError: there are no such items.
    """
    rng = np.random.default_rng([seed, 2])
    order = rng.permutation(crowd.n_annotations)
    items, first = np.unique(crowd.item[order], return_index=True)
    several = np.flatnonzero(crowd.labels_per_item[items] > 1)
    n_held_out = round(share * len(several))
    if n_held_out == 0:
        raise ValueError(
            "noisy validation of an aggregator holds annotations back from items with two or more, and there are "
            f"{len(several)}; take more workers or clean_validation"
        )
    held_out = np.zeros(crowd.n_annotations, bool)
    held_out[order[first[rng.permutation(several)[:n_held_out]]]] = True
    return held_out


def crowd_of_items(crowd: CrowdLabels, items: NDArray[np.bool_]) -> CrowdLabels:
    """The annotations of the items where the mask (n_items,) holds, renumbered; the workers stay."""
    chosen = items[crowd.item]
    place = np.cumsum(items) - 1
    return CrowdLabels(
        item=place[crowd.item[chosen]],
        worker=crowd.worker[chosen],
        label=crowd.label[chosen],
        n_items=int(items.sum()),
        n_workers=crowd.n_workers,
        n_classes=crowd.n_classes,
        repeats="keep",
    )


@dataclass(frozen=True, eq=False)
class Fitting:
    """What a network is fitted on, and what judges it.

    Attributes:
        crowd: the annotations of the items to fit on.
        items: their inputs, and as test items those held out, with the labels they are judged by.
        truth: (n_items,) true classes of the items to fit on, for the genie-aided baselines.
    """

    crowd: CrowdLabels
    items: TrainTest
    truth: NDArray[np.int64]


def fitting(search: Search, cell: Cell, data: Data) -> Fitting:
    """Part a cell's training items: the test items of the data set are nowhere in it.

    Raises:
        ValueError: the data have no inputs, or no items to judge by.
    """
    given, part = _given(cell, data)
    return _fitting(search, cell, part, given)


def _fitting(search: Search, cell: Cell, part: Data, given: CellCrowd) -> Fitting:
    if part.for_networks is None:
        raise ValueError(f"data set {part.name} was loaded without the items of its crowd; a network needs them")
    held_out = held_out_items(search, cell, given)
    inputs = part.for_networks.train
    return Fitting(
        crowd_of_items(given.crowd, ~held_out),
        TrainTest(inputs[~held_out], inputs[held_out], judged_by(search, cell, given)[held_out]),
        given.truth[~held_out],
    )


def _validate_network(search: Search, cell: Cell, part: Data, given: CellCrowd, watch: Watch, device: str) -> float:
    from crowdml.learning.evaluate import accuracies
    from crowdml.learning.task import make_task
    from crowdml.methods.carry_out import carry_out

    def report(step: int, metric: str, value: float) -> None:
        if metric == "test_accuracy":  # of the items held out, which stand in the test items' place
            watch(value)

    assert cell.training is not None
    fitted = _fitting(search, cell, part, given)
    task = make_task(
        fitted.items,
        n_classes=part.n_classes,
        network=cell.training.network,
        recipe=cell.training.recipe,
        seed=cell.seed,
        device=device,
        report=report,
        truth=fitted.truth,
    )
    method = methods.resolve(cell.method, dict(cell.method_options))
    return accuracies(carry_out(method, fitted.crowd, task).model, task)["test_accuracy"]


def _given(cell: Cell, data: Data) -> tuple[CellCrowd, Any]:
    """The crowd of the cell, and the part of the data that it labels."""
    part = data.take_train(cell.n_train, cell.seed) if isinstance(data, ImageData) else data
    return cell_crowd(cell, part, whole=data), part


def _log_likelihood(crowd: CrowdLabels, posterior: NDArray[np.float64], confusion: NDArray[np.float64]) -> float:
    """Mean over the annotations of log sum_c q_c A_w[c, l]."""
    of_label = confusion[crowd.worker, :, crowd.label]
    probability = (posterior[crowd.item] * of_label).sum(axis=1)
    return float(np.log(np.maximum(probability, _FLOOR)).mean())
