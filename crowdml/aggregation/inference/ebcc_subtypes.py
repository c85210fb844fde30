"""Variational inference for classes that are mixtures of subtypes: the steps of EBCC.

A state of an item is a pair of class and subtype.  The states in use lie along one axis, sorted by class.  Mean-field
updates of the model of Y. Li, B. I. P. Rubinstein and T. Cohn, ICML 2019.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crowdml.aggregation.inference import dirichlet
from crowdml.aggregation.inference.confusion import known_only, normalise_log
from crowdml.labels import Array, CrowdLabels

DEAD = 1e-12
"""A state with fewer expected items is removed, because it almost never comes back."""


class Priors(NamedTuple):
    """Pseudo-counts of the model's Dirichlet distributions.

    Attributes:
        confusion: (n_classes, n_classes) of answers [true, given], the same for all workers and subtypes.
        groups: (n_classes, n_groups) of the subtypes of each class.
        classes: (n_classes,) of the class prior.
        fixed: (n_classes,) or (n_items, n_classes) a known class prior, which replaces its distribution; or None.
    """

    confusion: Array
    groups: Array
    classes: Array
    fixed: Array | None


class SubtypeInference:
    """One run: the distribution over each item's states, and the quantities derived from it.

    Args:
        joint: (n_items, n_classes, n_groups) first distribution of each item over class and subtype.

    Attributes:
        posterior: (n_items, n_classes).
        objective: the lower bound of the log evidence after each step.
        of_class, group: (n_states,) class and subtype of the states in use.
    """

    def __init__(self, crowd: CrowdLabels, priors: Priors, joint: Array) -> None:
        self.crowd = crowd
        self.priors = priors
        self.of_class, self.group = (index.ravel() for index in np.indices(priors.groups.shape))
        self.objective: list[float] = []
        self._joint = joint.reshape(crowd.n_items, -1)
        # Spread earlier answers evenly over the subtypes at first, because nothing is known about the subtypes.
        self._past, _ = self._share_history(np.zeros((1, len(self.group), 1)))
        self._add_up()

    def step(self) -> float:
        """Update the distributions of all tables, then of all states.  Return the largest change of the posterior."""
        workers = dirichlet.update(self.priors.confusion[self.of_class], self._answers)
        groups = dirichlet.update(self.priors.groups, self._items)
        log_prior, bound = dirichlet.expected_log_prior(
            self.posterior.sum(axis=0), self.priors.classes, self.priors.fixed
        )
        bound += float(dirichlet.minus_divergence(workers, self._answers).sum())
        bound += float(dirichlet.minus_divergence(groups, self._items).sum())
        log_group = groups.expected_log[self.of_class, self.group]
        self._joint, log_evidence = self._infer(workers.expected_log, log_group, log_prior)
        self._past, log_evidence_of_past = self._share_history(workers.expected_log + log_group[:, None])
        self.objective.append(bound + log_evidence + log_evidence_of_past)
        before = self.posterior
        self._add_up()
        self._remove_dead_states()
        return float(np.abs(self.posterior - before).max())

    def class_parameters(self) -> Array:
        """Return the (n_classes,) Dirichlet parameters of the class prior."""
        return self.priors.classes + self.posterior.sum(axis=0)

    def group_parameters(self) -> Array:
        """Return the (n_classes, n_groups) Dirichlet parameters of the subtypes."""
        return self.priors.groups + self._items

    def worker_parameters(self) -> Array:
        """Return the (n_workers, n_classes, n_groups, n_classes) Dirichlet parameters of the answers."""
        n_groups = self.priors.groups.shape[1]
        parameters = np.tile(self.priors.confusion[:, None, :], (self.crowd.n_workers, 1, n_groups, 1))
        parameters[:, self.of_class, self.group] += self._answers
        return parameters

    def _add_up(self) -> None:
        """Update posterior, expected answers (n_workers, n_states, n_classes) and items (n_classes, n_groups)."""
        n_classes = self.crowd.n_classes
        answers = (self.crowd.indicator.T @ self._joint).reshape(self.crowd.n_workers, n_classes, -1)
        self._answers = answers.transpose(0, 2, 1) + self._past
        self._items = np.zeros_like(self.priors.groups)
        self._items[self.of_class, self.group] = self._joint.sum(axis=0) + self._past.sum(axis=(0, 2))
        self.posterior = np.add.reduceat(self._joint, self._first_of_class(), axis=1)

    def _infer(self, log_confusion: Array, log_group: Array, log_prior: Array) -> tuple[Array, float]:
        """E-step: return (n_items, n_states), and the sum of the log normalisers."""
        crowd = self.crowd
        if crowd.gold is not None:
            log_prior = known_only(crowd, np.broadcast_to(log_prior, (crowd.n_items, crowd.n_classes)).copy())
        table = log_confusion.transpose(0, 2, 1).reshape(-1, len(log_group))
        log_joint = crowd.indicator @ table
        log_joint += log_group + log_prior[..., self.of_class]
        joint, log_evidence = normalise_log(log_joint)
        return joint, float(log_evidence.sum())

    def _share_history(self, log_state: Array) -> tuple[Array, float]:
        """Return the expected numbers of earlier answers per state, and their log evidence.

        An earlier answer counts as an item of known class with one annotation.  `log_state` (n_workers, n_states,
        n_classes), the shape of the result too, is the logarithm of P(subtype, label given | true class).
        """
        history = self.crowd.history
        if history is None:
            return np.zeros((1, 1, 1)), 0.0
        first = self._first_of_class()
        top = np.maximum.reduceat(log_state, first, axis=1)
        share = np.exp(log_state - top[:, self.of_class])
        total = np.add.reduceat(share, first, axis=1)
        past = history[:, self.of_class] * (share / total[:, self.of_class])
        return past, float((history * (np.log(total) + top)).sum())

    def _remove_dead_states(self) -> None:
        n_items = self._items[self.of_class, self.group]
        # A class keeps its largest subtype, even a very small one.
        alive = (n_items > DEAD) | (self.group == self._items.argmax(axis=1)[self.of_class])
        if alive.all():
            return
        self._items[self.of_class[~alive], self.group[~alive]] = 0.0
        self.of_class, self.group = self.of_class[alive], self.group[alive]
        self._joint, self._answers = self._joint[:, alive], self._answers[:, alive]
        if self.crowd.history is not None:
            self._past = self._past[:, alive]

    def _first_of_class(self) -> NDArray[np.intp]:
        return np.searchsorted(self.of_class, np.arange(self.crowd.n_classes))
