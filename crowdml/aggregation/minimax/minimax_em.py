"""The base of all forms of minimax entropy: penalties, EM and held-out likelihood.

A form defines the logits of a worker and of an item.  Coordinates turn terms into logits, so that the penalty is the
plain sum of squared terms.  Then one EM fits all forms.  Its M-step makes Newton steps on the terms of workers and
items in turn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from crowdml.aggregation.aggregator import Aggregation, TieRule, check_choice, check_least, checked, first_posterior
from crowdml.aggregation.inference.confusion import FLOOR, given_counts, infer_posterior, one_hot
from crowdml.aggregation.inference.prior_and_gold import check_prior
from crowdml.aggregation.minimax import minimax_steps as steps
from crowdml.aggregation.minimax.minimax_steps import newton_step, softmax
from crowdml.labels import Array, CrowdLabels
from crowdml.support.search_space import Choice, Either, Float, Space

SETTLED = 1e-3
"""The M-step ends early if no Newton step has a spread above this in a row of logits."""

MAX_PENALTY_SHARE = 1 / 3
"""Upper limit of the default worker penalty, in units of labels per item times the data's mean curvature in a logit."""


class Coordinates(Protocol):
    """How terms define logits."""

    def logits(self, term: Array) -> Array:
        """Return (n, rows, n_classes) logits from the terms of n workers or items."""
        ...

    def step(self, term: Array, expected: Array, given: Array, penalty: float) -> float:
        """Make a Newton step on the terms, in place, and return its largest spread (see `newton_step`)."""
        ...


class FreeLogits:
    """Terms that are logits themselves, (n, rows, n_classes)."""

    def logits(self, term: Array) -> Array:
        """Return the terms."""
        return term

    def step(self, term: Array, expected: Array, given: Array, penalty: float) -> float:
        """See `newton_step`."""
        return newton_step(term, expected, given, penalty)


class Penalties(NamedTuple):
    """The weights of half the sum of squared terms, of workers and of items."""

    worker: float
    item: float


@dataclass(frozen=True)
class Minimax(TieRule, ABC):
    """The options of every form of minimax entropy.

    Args:
        lambda_worker: penalty of the worker terms, positive.  None is the authors' 0.25 * n_classes**2, but at most
            labels_per_worker * labels_per_item / (3 * n_classes**2) (means over the crowd).  With many classes, the
            authors' penalty outweighs the data, and every posterior becomes uniform.
        lambda_item: penalty of the item terms, positive.  None is the authors' lambda_worker * labels_per_worker /
            labels_per_item.
        item_terms: False leaves out the item terms.  Then an iteration is as fast as a Dawid-Skene iteration.  True
            leaves them out only if they could change no posterior probability by `tol` (see `item_terms_matter`).
        init: the first posterior.  "votes": the vote shares.  "majority": certainty for the majority label (ties go to
            the lowest class index).  Gold labels and histories correct both.
        max_iter, tol: stop after max_iter iterations, or when no posterior probability changes by more than tol.
        inner_iter: maximum number of Newton steps on worker and item terms per M-step.
    """

    lambda_worker: float | None = None
    lambda_item: float | None = None
    item_terms: bool = True
    init: Literal["votes", "majority"] = "votes"
    max_iter: int = 100
    tol: float = 1e-3
    inner_iter: int = 4

    SPACE: ClassVar[Space] = {
        "lambda_worker": Either(None, Float(0.1, 100, log=True)),
        "lambda_item": Either(None, Float(0.1, 100, log=True)),
        "item_terms": Choice(False, True),
        "init": Choice("votes", "majority"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "init", "votes", "majority")
        for name in ("lambda_worker", "lambda_item"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise ValueError(f"{name} must be positive and finite, or None, got {value}")
        check_least(self, 1, "max_iter", "inner_iter")

    @checked
    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Run EM.

        Args:
            crowd: the annotations.  The answers of a worker's history count as answers to items without terms.
            prior: (n_classes,) or (n_items, n_classes), normalised here; stays fixed.  None is uniform.

        Returns:
            The Aggregation.  `objective` is the log likelihood of the annotations and histories minus the penalties,
            and never falls.  `confusion` is the mean of pi over the items that the worker labelled, weighted by their
            posterior.  The row is uniform for a class without such items.
        """
        posterior, class_prior, terms, objective, converged = self.solve(crowd, prior)
        confusion = terms.confusion(posterior)
        return self.conclude(
            crowd, posterior, class_prior, confusion=confusion, converged=converged, objective=objective
        )

    def solve(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Solution:
        """Run EM as `fit` does, and return the terms too."""
        checked = check_prior(prior, crowd)
        class_prior = np.full(crowd.n_classes, 1 / crowd.n_classes) if checked is None else checked
        posterior = first_posterior(crowd, checked)
        if self.init == "majority":
            posterior = one_hot(posterior.argmax(axis=1), crowd.n_classes)
        terms = self.first_terms(crowd)
        objective: list[float] = []
        converged = False
        while len(objective) < self.max_iter and not converged:
            given = np.ascontiguousarray(given_counts(crowd, posterior))
            moved = np.inf
            for _ in range(self.inner_iter):
                moved = terms.step(posterior, given)
                if moved <= SETTLED:
                    break
            updated, log_evidence = terms.infer(crowd, class_prior)
            objective.append(float(log_evidence.sum()) + terms.log_prior())
            converged = moved <= SETTLED and bool(np.abs(updated - posterior).max() <= self.tol)
            posterior = updated
        return Solution(posterior, class_prior, terms, objective, converged)

    @abstractmethod
    def first_terms(self, crowd: CrowdLabels) -> Terms:
        """Return terms of zero, with the penalties for the crowd."""

    def penalties(self, crowd: CrowdLabels) -> Penalties:
        """Return the penalties for a crowd: the given ones, or the defaults."""
        per_worker, per_item = crowd.n_annotations / crowd.n_workers, crowd.n_annotations / crowd.n_items
        worker = self.lambda_worker
        if worker is None:
            # The data give a logit of a worker with per_worker labels the curvature per_worker / n_classes**2.
            largest = MAX_PENALTY_SHARE * per_item * per_worker / crowd.n_classes**2
            worker = min(0.25 * crowd.n_classes**2, largest)
        return Penalties(worker, worker * per_worker / per_item if self.lambda_item is None else self.lambda_item)


class Solution(NamedTuple):
    """The result of EM: posterior (n_items, n_classes), fixed prior, terms, objective per iteration, convergence."""

    posterior: Array
    prior: Array
    terms: Terms
    objective: list[float]
    converged: bool


def item_terms_matter(crowd: CrowdLabels, penalty: float, tol: float) -> bool:
    """Return True if item terms under this penalty could change a posterior probability by more than tol.

    At the optimum, penalty * item_term[i, l] = votes - expected votes.  So no term of an item with k annotations
    exceeds k / penalty.  The terms change each of the item's k normalisers by at most k / penalty.  So they change the
    log odds by at most 2 k**2 / penalty, and a probability by at most a quarter of this.  The bound is below 0.001 if
    some workers label tens of thousands of items each.
    """
    return float(crowd.labels_per_item.max()) ** 2 / (2 * penalty) > tol


@dataclass(frozen=True)
class Terms:
    """The terms of workers and items, and the steps that fit them.

    Args:
        crowd: the annotations to fit.
        penalty, coordinates: the weights of the squared terms, and how terms define logits.
        worker, item: the terms, which `step` changes in place.  None leaves out the item terms.
    """

    crowd: CrowdLabels
    penalty: Penalties
    coordinates: Coordinates
    worker: Array
    item: Array | None

    def step(self, posterior: Array, given: Array) -> float:
        """Make one Newton step on the workers' and on the items' terms.  Return the largest spread of a row's step."""
        expected = self._expected(posterior, given)
        moved = self.coordinates.step(self.worker, expected, given, self.penalty.worker)
        return moved if self.item is None else max(moved, self._step_items(posterior, self.item))

    def _step_items(self, posterior: Array, item: Array) -> float:
        votes = self.crowd.votes[:, None, :]

        def step(items: slice, expected: Array) -> float:
            one_row = expected.shape[1] == 1
            given = votes[items] if one_row else posterior[items, :, None] * votes[items]
            return self.coordinates.step(item[items], expected, given, self.penalty.item)

        worker_logits = self.coordinates.logits(self.worker)
        return steps.visit_expected_by_item(self.crowd, posterior, worker_logits, self._item_logits, step)

    def infer(self, crowd: CrowdLabels, prior: Array) -> tuple[Array, Array]:
        """Return the posterior and log likelihood (n_items,) of any annotations of the same workers and items."""
        worker_logits = self.coordinates.logits(self.worker)
        if self.item is None:
            return infer_posterior(crowd, softmax(worker_logits), prior)
        return steps.infer(crowd, worker_logits, self._item_logits, prior)

    def log_prior(self) -> float:
        """Return the part of the objective without annotations: log likelihood of the histories minus the penalties."""
        cost = self.penalty.worker * float(np.vdot(self.worker, self.worker))
        if self.item is not None:
            cost += self.penalty.item * float(np.vdot(self.item, self.item))
        if self.crowd.history is None:
            return -cost / 2
        probability = softmax(self.coordinates.logits(self.worker))
        return float((self.crowd.history * np.log(np.maximum(probability, FLOOR))).sum()) - cost / 2

    def confusion(self, posterior: Array) -> Array:
        """Return the (n_workers, n_classes, n_classes) mean of pi over a worker's items, weighted by posterior."""
        expected = self._expected(posterior, np.ascontiguousarray(given_counts(self.crowd, posterior)))
        total = expected.sum(axis=2, keepdims=True)
        return np.where(total > FLOOR, expected / np.maximum(total, FLOOR), 1 / self.crowd.n_classes)

    def _expected(self, posterior: Array, given: Array) -> Array:
        """Return the model's expected counts of the workers, including histories."""
        logits = self.coordinates.logits(self.worker)
        if self.item is None:  # pi is the same for all items, and `given` holds their weight
            return softmax(logits) * given.sum(axis=2, keepdims=True)
        expected = steps.expected_by_worker(self.crowd, posterior, logits, self._item_logits)
        if self.crowd.history is not None:
            expected += softmax(logits) * self.crowd.history.sum(axis=2, keepdims=True)
        return expected

    def _item_logits(self, items: slice) -> Array:
        assert self.item is not None
        return self.coordinates.logits(self.item[items])
