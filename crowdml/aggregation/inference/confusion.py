"""The two steps of all methods with confusion matrices: expected counts and posterior."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crowdml.aggregation.inference.kernels import expected_counts, log_joint
from crowdml.labels import Array, CrowdLabels

FLOOR = 1e-12
"""Lower limit of a probability before its logarithm is taken."""

Posterior = Array


def one_hot(labels: NDArray[np.integer], n_classes: int) -> Posterior:
    """Return (n_items, n_classes) zeros with a one at each label."""
    posterior = np.zeros((len(labels), n_classes))
    posterior[np.arange(len(labels)), labels] = 1.0
    return posterior


def given_counts(crowd: CrowdLabels, posterior: Posterior, *, history: bool = True) -> Array:
    """Return (n_workers, n_classes, n_classes) expected numbers [w, c, l] of labels l from w to items of class c.

    A worker's history is included unless `history` is False.
    """
    counts = expected_counts(crowd, posterior)
    return counts + crowd.history if history and crowd.history is not None else counts


def estimate_confusion(crowd: CrowdLabels, posterior: Posterior, smoothing: float) -> Array:
    """M-step: return (n_workers, n_classes, n_classes) with [w, c, l] = P(worker w gives label l | true class c).

    A row of zero counts (no item of that class, and no smoothing) becomes uniform.
    """
    return normalise_rows(given_counts(crowd, posterior) + smoothing)


def normalise_rows(counts: Array) -> Array:
    """Divide the counts by their sums over the last axis.  A row of zeros becomes uniform."""
    total = counts.sum(axis=-1, keepdims=True)
    return np.where(total > 0, counts / np.where(total > 0, total, 1), 1 / counts.shape[-1])


def even_errors(accuracy: Array, n_classes: int) -> Array:
    """Return (n_workers, n_classes, n_classes) confusion matrices of workers whose errors are spread evenly.

    Args:
        accuracy: (n_workers,), or (n_workers, n_classes) with one accuracy per true class.
        n_classes: number of classes.  With one class, every label is right.
    """
    by_class = accuracy if accuracy.ndim == 2 else np.repeat(accuracy[:, None], n_classes, axis=1)
    right = by_class if n_classes > 1 else np.ones_like(by_class)
    wrong = (1 - right) / max(n_classes - 1, 1)
    return np.where(np.eye(n_classes, dtype=bool), right[:, :, None], wrong[:, :, None])


def infer_posterior(crowd: CrowdLabels, confusion: Array, prior: Array) -> tuple[Posterior, Array]:
    """E-step in the log domain.  Gold items keep their class.

    Args:
        confusion: (n_workers, n_classes, n_classes) the result of `estimate_confusion`.
        prior: (n_classes,) or (n_items, n_classes).

    Returns:
        The posterior (n_items, n_classes), and the log likelihood of each item's annotations (n_items,).  For a gold
        item, the likelihood is the joint one with its class.
    """
    return infer_from_logs(crowd, np.log(np.maximum(confusion, FLOOR)), np.log(np.maximum(prior, FLOOR)))


def infer_from_logs(crowd: CrowdLabels, log_confusion: Array, log_prior: Array) -> tuple[Posterior, Array]:
    """Do `infer_posterior` with logarithms.  The rows need not be normalised (variational methods)."""
    log_posterior = log_joint(crowd, log_confusion)
    log_posterior += log_prior
    return normalise_log(known_only(crowd, log_posterior))


def known_only(crowd: CrowdLabels, log_posterior: Array) -> Array:
    """Set the log posterior of gold items to minus infinity except for their class, in place, and return the array."""
    if crowd.gold is not None:
        known = np.flatnonzero(crowd.gold >= 0)
        kept = log_posterior[known, crowd.gold[known]]
        log_posterior[known] = -np.inf
        log_posterior[known, crowd.gold[known]] = kept
    return log_posterior


def normalise_log(log_posterior: Array) -> tuple[Array, Array]:
    """Apply softmax to each row, in place, and return the rows and the log normalisers (n_items,)."""
    top = log_posterior.max(axis=1, keepdims=True)
    log_posterior -= top
    np.exp(log_posterior, out=log_posterior)
    total = log_posterior.sum(axis=1, keepdims=True)
    log_posterior /= total
    return log_posterior, (np.log(total) + top)[:, 0]
