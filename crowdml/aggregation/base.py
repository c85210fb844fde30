"""What every aggregator takes and gives: the Aggregator protocol, the Aggregation result, and shared steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crowdml.labels import CrowdLabels

FLOOR = 1e-12
"""Probabilities are floored here before a logarithm is taken."""


@dataclass(frozen=True, eq=False)
class Aggregation:
    """What an aggregator concludes from a crowd.

    Attributes:
        posterior: (n_items, n_classes) probability of each class; rows sum to one.
        labels: (n_items,) the class chosen for each item.
        class_prior: (n_classes,) class probabilities, estimated or given.
        confusion: (n_workers, n_classes, n_classes) P(label given | true class) of each worker, or None where
            the method has no such model; rows (last axis) sum to one.
        worker_quality: (n_workers,) in [0, 1]: expected share of right labels under the estimated model, or
            agreement with the chosen labels; NaN for a worker without annotations.
        n_unlabelled: how many items had no annotation; their posterior is the prior.
        n_iter: iterations done.
        converged: whether the stopping tolerance was reached.
        objective: what the method maximises, after each iteration; empty where it has no objective.
    """

    posterior: NDArray[np.float64]
    labels: NDArray[np.int64]
    class_prior: NDArray[np.float64]
    confusion: NDArray[np.float64] | None = None
    worker_quality: NDArray[np.float64] | None = None
    n_unlabelled: int = 0
    n_iter: int = 0
    converged: bool = True
    objective: tuple[float, ...] = ()


class Aggregator(Protocol):
    """A dataclass of hyper-parameters that turns a crowd into a posterior."""

    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Aggregate.  `prior` is (n_classes,), or (n_items, n_classes) for a prior of each item."""
        ...


def check_prior(prior: ArrayLike | None, crowd: CrowdLabels) -> NDArray[np.float64] | None:
    """The prior as a normalised float array (n_classes,) or (n_items, n_classes); None stays None.

    Raises:
        ValueError: another shape, a negative or non-finite entry, or a row that sums to zero.
    """
    if prior is None:
        return None
    values = np.asarray(prior, dtype=np.float64)
    shapes = ((crowd.n_classes,), (crowd.n_items, crowd.n_classes))
    if values.shape not in shapes:
        raise ValueError(
            f"prior must have shape (n_classes,) = {shapes[0]} or (n_items, n_classes) = {shapes[1]}, "
            f"got {values.shape}"
        )
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError("prior must be finite and not negative")
    total = values.sum(axis=-1, keepdims=True)
    if (total <= 0).any():
        raise ValueError("prior must not sum to zero")
    return values / total


def vote_shares(crowd: CrowdLabels, prior: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """(n_items, n_classes) share of the votes each class got; an item without votes gets the prior (or uniform)."""
    total = crowd.votes.sum(axis=1, keepdims=True)
    shares = crowd.votes / np.maximum(total, 1)
    empty = total[:, 0] == 0
    if empty.any():
        fallback = np.full(crowd.n_classes, 1 / crowd.n_classes) if prior is None else prior
        shares[empty] = fallback if fallback.ndim == 1 else fallback[empty]
    return shares


def normalise_log(log_posterior: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Softmax of each row, in place, and the logarithm of each row's normaliser (n_items,)."""
    top = log_posterior.max(axis=1, keepdims=True)
    log_posterior -= top
    np.exp(log_posterior, out=log_posterior)
    total = log_posterior.sum(axis=1, keepdims=True)
    log_posterior /= total
    return log_posterior, (np.log(total) + top)[:, 0]


def agreement(crowd: CrowdLabels, posterior: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_workers,) mean posterior probability of the labels a worker gave; NaN without annotations."""
    given = posterior[crowd.item, crowd.label]
    total = np.bincount(crowd.worker, weights=given, minlength=crowd.n_workers)
    with np.errstate(invalid="ignore"):
        return total / crowd.labels_per_worker


def aggregation_of(
    crowd: CrowdLabels,
    posterior: NDArray[np.float64],
    confusion: NDArray[np.float64],
    class_prior: NDArray[np.float64],
    *,
    n_iter: int,
    converged: bool,
    objective: Sequence[float],
) -> Aggregation:
    """The result of a method that estimates confusion matrices.

    Each item gets its most probable class, the lowest of equal ones, and each worker the quality
    sum_c p(c) P(label c | true class c), NaN without annotations.

    Args:
        class_prior: (n_classes,), or (n_items, n_classes), of which the mean is kept.
    """
    marginal = class_prior if class_prior.ndim == 1 else class_prior.mean(axis=0)
    quality = np.diagonal(confusion, axis1=1, axis2=2) @ marginal
    return Aggregation(
        posterior=posterior,
        labels=posterior.argmax(axis=1),
        class_prior=marginal,
        confusion=confusion,
        worker_quality=np.where(crowd.labels_per_worker > 0, quality, np.nan),
        n_unlabelled=int((crowd.labels_per_item == 0).sum()),
        n_iter=n_iter,
        converged=converged,
        objective=tuple(objective),
    )
