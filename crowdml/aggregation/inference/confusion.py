"""The two steps that methods with confusion matrices share: expected counts and posterior."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crowdml.aggregation.inference.kernels import expected_counts, log_joint
from crowdml.labels import CrowdLabels

FLOOR = 1e-12
"""Probabilities are floored here before a logarithm is taken."""

Posterior = NDArray[np.float64]


def one_hot(labels: NDArray[np.integer], n_classes: int) -> Posterior:
    """(n_items, n_classes) with a one at each label."""
    posterior = np.zeros((len(labels), n_classes))
    posterior[np.arange(len(labels)), labels] = 1.0
    return posterior


def given_counts(crowd: CrowdLabels, posterior: Posterior, *, history: bool = True) -> NDArray[np.float64]:
    """(n_workers, n_classes, n_classes) with [w, c, l] the expected number of labels l that w gave to class c.

    A worker's history is counted in unless `history` is False.
    """
    counts = expected_counts(crowd, posterior)
    return counts + crowd.history if history and crowd.history is not None else counts


def estimate_confusion(crowd: CrowdLabels, posterior: Posterior, smoothing: float) -> NDArray[np.float64]:
    """M-step: (n_workers, n_classes, n_classes) with [w, c, l] = P(worker w gives label l | true class c).

    A row without any weight (a worker who saw nothing of that class, and no smoothing) becomes uniform.
    """
    return normalise_rows(given_counts(crowd, posterior) + smoothing)


def normalise_rows(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The counts divided by their sums over the last axis; a row without any weight becomes uniform."""
    total = counts.sum(axis=-1, keepdims=True)
    return np.where(total > 0, counts / np.where(total > 0, total, 1), 1 / counts.shape[-1])


def even_errors(accuracy: NDArray[np.float64], n_classes: int) -> NDArray[np.float64]:
    """(n_workers, n_classes, n_classes) confusion matrices of workers whose wrong labels spread evenly.

    Args:
        accuracy: (n_workers,), or (n_workers, n_classes) one for each true class.
        n_classes: number of classes; with a single one every label is right.
    """
    by_class = accuracy if accuracy.ndim == 2 else np.repeat(accuracy[:, None], n_classes, axis=1)
    right = by_class if n_classes > 1 else np.ones_like(by_class)
    wrong = (1 - right) / max(n_classes - 1, 1)
    return np.where(np.eye(n_classes, dtype=bool), right[:, :, None], wrong[:, :, None])


def infer_posterior(
    crowd: CrowdLabels, confusion: NDArray[np.float64], prior: NDArray[np.float64]
) -> tuple[Posterior, NDArray[np.float64]]:
    """E-step, in the log domain; an item whose class is known keeps it.

    Args:
        confusion: (n_workers, n_classes, n_classes) as `estimate_confusion` gives.
        prior: (n_classes,) or (n_items, n_classes).

    Returns:
        The posterior (n_items, n_classes) and the log likelihood of each item's annotations (n_items,), for a gold
        item jointly with its class.
    """
    return infer_from_logs(crowd, np.log(np.maximum(confusion, FLOOR)), np.log(np.maximum(prior, FLOOR)))


def infer_from_logs(
    crowd: CrowdLabels, log_confusion: NDArray[np.float64], log_prior: NDArray[np.float64]
) -> tuple[Posterior, NDArray[np.float64]]:
    """`infer_posterior` from logarithms, which need not belong to normalised rows (variational methods)."""
    log_posterior = log_joint(crowd, log_confusion)
    log_posterior += log_prior
    return normalise_log(known_only(crowd, log_posterior))


def known_only(crowd: CrowdLabels, log_posterior: NDArray[np.float64]) -> NDArray[np.float64]:
    """The unnormalised log posterior with minus infinity for what a gold item is not, in place."""
    if crowd.gold is not None:
        known = np.flatnonzero(crowd.gold >= 0)
        kept = log_posterior[known, crowd.gold[known]]
        log_posterior[known] = -np.inf
        log_posterior[known, crowd.gold[known]] = kept
    return log_posterior


def normalise_log(log_posterior: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Softmax of each row, in place, and the logarithm of each row's normaliser (n_items,)."""
    top = log_posterior.max(axis=1, keepdims=True)
    log_posterior -= top
    np.exp(log_posterior, out=log_posterior)
    total = log_posterior.sum(axis=1, keepdims=True)
    log_posterior /= total
    return log_posterior, (np.log(total) + top)[:, 0]
