"""KOS: messages between items and workers, for two classes.

D. R. Karger, S. Oh and D. Shah, "Iterative Learning for Reliable Crowdsourcing Systems", NIPS 2011, and "Budget-Optimal
Task Allocation for Reliable Crowdsourcing Systems", Operations Research 62 (2014).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from crowdml.aggregation.aggregator import Aggregation, Sizes, TieRule, check_least, checked, dense_cells, refuse
from crowdml.aggregation.inference.confusion import FLOOR
from crowdml.aggregation.inference.prior_and_gold import check_prior
from crowdml.labels import Array, CrowdLabels


@dataclass(frozen=True)
class Kos(TieRule):
    """Message passing between items and workers (two classes only).

    The message of an item to a worker sums what the other workers' messages say about the class of the item.  The
    message of a worker to an item says how far the messages of the other items confirm the worker's answers.  Class 1
    is +1, class 0 is -1.  The first messages are drawn from N(1, 1), in the order of (item, worker, label).  So the
    order of the rows does not matter.

    Args:
        max_iter: maximum number of rounds.
        tol: stop when no message changes by more than this, in units of their root mean square.
    """

    max_iter: int = 100
    tol: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 1, "max_iter")
        check_least(self, 0, "tol")

    def peak_cells(self, sizes: Sizes) -> float:
        """See TieRule."""
        return dense_cells(sizes, posteriors=6) + 8 * sizes.n_annotations

    def check(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> None:
        """See TieRule."""
        refuse(crowd, "KOS", binary_only=True, gold=False, history=False)

    @checked
    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Pass messages.

        Args:
            crowd: annotations of two classes, without gold labels and histories, which the method cannot use.
            prior: (n_classes,) or (n_items, n_classes); its log odds are added to the scores.

        Returns:
            The Aggregation.  The score of an item is the signed sum of its messages, in units of their root mean
            square.  The posterior is the logistic function of the score.  It orders the items but is not calibrated.
            If the workers of an item labelled no other item, its score is zero, and its posterior is the prior.

        Raises:
            ValueError: the crowd has more or fewer than two classes, gold labels or histories.
        """
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
    """Return the (n_items,) part of the crowd that each item belongs to.  Two parts share no worker."""
    edges = (np.ones(crowd.n_annotations), (crowd.item, crowd.n_items + crowd.worker))
    size = crowd.n_items + crowd.n_workers
    return connected_components(sp.coo_array(edges, shape=(size, size)), directed=False)[1][: crowd.n_items]


def _scaled(message: Array, part: NDArray[np.int32]) -> Array:
    """Scale the messages to a root mean square of one per part.  With one scale, the weaker parts would vanish."""
    mean_square = np.bincount(part, weights=message**2) / np.maximum(np.bincount(part), 1)
    scale = np.sqrt(mean_square)[part]
    return np.divide(message, scale, out=np.zeros_like(message), where=scale > 0)


@njit(cache=True, nogil=True)
def _pass(start, worker, answer, message, n_workers):
    """Return the workers' messages after one round: workers to items, items to workers, workers to items."""
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
