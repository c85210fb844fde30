"""KOS: messages between items and workers, for two classes.

D. R. Karger, S. Oh and D. Shah, "Iterative Learning for Reliable Crowdsourcing Systems", NIPS 2011, and
"Budget-Optimal Task Allocation for Reliable Crowdsourcing Systems", Operations Research 62 (2014).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from crowdml.aggregation.aggregator import Aggregation, TieRule, check_prior, refuse
from crowdml.aggregation.inference.confusion import FLOOR
from crowdml.labels import CrowdLabels

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Kos(TieRule):
    """Message passing between items and workers (two classes only).

    An item tells a worker what the others' messages say of its class, and a worker tells an item how far the messages
    of the others confirm the worker's answers; class 1 is +1, class 0 is -1.  The first messages are drawn from
    N(1, 1), in the order of (item, worker, label), so that the order of the rows does not matter.

    Args:
        max_iter: rounds at most.
        tol: stop when no message moves by more than this, in units of their root mean square.
    """

    max_iter: int = 100
    tol: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_iter < 1:
            raise ValueError(f"max_iter must be at least 1, got {self.max_iter}")
        if not self.tol >= 0:
            raise ValueError(f"tol must not be negative, got {self.tol}")

    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Pass messages.

        Args:
            crowd: annotations of two classes, without gold labels and histories, for which the method has no place.
            prior: (n_classes,) or (n_items, n_classes); its log odds are added to the scores.

        Returns:
            The Aggregation.  The posterior is the logistic function of an item's score, the signed sum of the
            messages it gets in units of their root mean square; it orders the items but is not calibrated.  An item
            of which no other item's workers can tell anything has score zero, and with it the prior.

        Raises:
            ValueError: more or fewer than two classes, gold labels or histories.
        """
        refuse(crowd, "KOS", binary_only=True, gold=False, history=False)
        fixed_prior = check_prior(prior, crowd)
        order = np.lexsort((crowd.label, crowd.worker, crowd.item))
        item, worker = crowd.item[order], crowd.worker[order]
        answer = 2.0 * crowd.label[order] - 1
        start = crowd.by_item.start
        part = _connected_part(crowd)[item]
        message = _scaled(np.random.default_rng(self.seed).normal(1, 1, len(order)), part)
        n_iter, converged = 0, False
        while n_iter < self.max_iter and not converged:
            n_iter += 1
            before = message
            message = _scaled(_pass(start, worker, answer, message, crowd.n_workers), part)
            converged = bool(np.abs(message - before).max() <= self.tol)
        odds = np.bincount(item, weights=answer * message, minlength=crowd.n_items)
        if fixed_prior is not None:
            log_prior = np.log(np.maximum(fixed_prior, FLOOR))
            odds += log_prior[..., 1] - log_prior[..., 0]
        posterior = np.stack([expit(-odds), expit(odds)], axis=1)
        return self.conclude(crowd, posterior, fixed_prior, n_iter=n_iter, converged=converged)


def _connected_part(crowd: CrowdLabels) -> NDArray[np.int32]:
    """(n_items,) the part of the crowd an item belongs to; parts share no worker."""
    edges = (np.ones(crowd.n_annotations), (crowd.item, crowd.n_items + crowd.worker))
    size = crowd.n_items + crowd.n_workers
    return connected_components(sp.coo_array(edges, shape=(size, size)), directed=False)[1][: crowd.n_items]


def _scaled(message: Array, part: NDArray[np.int32]) -> Array:
    """The messages with root mean square one in each part, for in a common scale the weaker ones would die out."""
    mean_square = np.bincount(part, weights=message**2) / np.maximum(np.bincount(part), 1)
    scale = np.sqrt(mean_square)[part]
    return np.divide(message, scale, out=np.zeros_like(message), where=scale > 0)


@njit(cache=True, nogil=True)
def _pass(start, worker, answer, message, n_workers):
    """One round: from messages of workers to items, over those of items to workers, to new ones of workers."""
    confirmed = np.zeros(n_workers)
    to_worker = np.empty_like(message)
    for item in range(len(start) - 1):
        total = 0.0
        for at in range(start[item], start[item + 1]):
            total += answer[at] * message[at]
        for at in range(start[item], start[item + 1]):
            to_worker[at] = total - answer[at] * message[at]
            confirmed[worker[at]] += answer[at] * to_worker[at]
    to_item = np.empty_like(message)
    for at in range(len(message)):
        to_item[at] = confirmed[worker[at]] - answer[at] * to_worker[at]
    return to_item
