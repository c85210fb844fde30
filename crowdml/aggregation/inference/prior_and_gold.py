"""Check a given prior, keep gold labels in a posterior, and count the answers to gold items."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from crowdml.labels import Array, CrowdLabels


def check_prior(prior: ArrayLike | None, crowd: CrowdLabels) -> Array | None:
    """Return the prior as a normalised float array (n_classes,) or (n_items, n_classes).  None stays None.

    Raises:
        ValueError: the prior has a wrong shape, a negative or non-finite entry, or a row that sums to zero.
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
    with np.errstate(over="ignore"):
        total = values.sum(axis=-1, keepdims=True)
    if not np.isfinite(total).all():
        raise ValueError("prior must have a finite sum")
    if (total <= 0).any():
        raise ValueError("prior must not sum to zero")
    return values / total


def keep_gold(crowd: CrowdLabels, posterior: Array) -> Array:
    """Set the posterior of gold items to certainty, in place, and return the posterior."""
    if crowd.gold is not None:
        known = np.flatnonzero(crowd.gold >= 0)
        posterior[known] = 0.0
        posterior[known, crowd.gold[known]] = 1.0
    return posterior


def gold_answers(crowd: CrowdLabels) -> tuple[Array, Array]:
    """Return two (n_workers, n_classes) counts of the labels of gold items: right labels, and all labels.

    History is included.  Without gold labels and histories, both arrays hold zeros.
    """
    right, given = np.zeros((2, crowd.n_workers, crowd.n_classes))
    if crowd.gold is not None:
        known = crowd.gold[crowd.item] >= 0
        is_right = crowd.gold[crowd.item] == crowd.label
        np.add.at(given, (crowd.worker[known], crowd.label[known]), 1)
        np.add.at(right, (crowd.worker[is_right], crowd.label[is_right]), 1)
    if crowd.history is not None:
        right += np.diagonal(crowd.history, axis1=1, axis2=2)
        given += crowd.history.sum(axis=1)
    return right, given
