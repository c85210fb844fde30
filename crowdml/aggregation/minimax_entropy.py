"""Regularised minimax entropy: what a worker answers depends on the worker and on the item.

D. Zhou, J. Platt, S. Basu, Y. Mao, "Learning from the Wisdom of Crowds by Minimax Entropy", NIPS 2012, with the
quadratic penalties of D. Zhou, Q. Liu, J. Platt, C. Meek, N. Shah, arXiv 1503.07240 (2015).  In the dual, worker w
gives item i of class c the label l with probability

    pi_iw(l | c) = exp(worker_term[w, c, l] + item_term[i, l]) / Z_iw(c),

and the method is EM for the terms that maximise the log likelihood minus both penalties.  Without item terms it is
Dawid-Skene with a penalty on logits.  Z of all items of a worker is the product exp(item_term) @ exp(worker_term).T,
so the work is matrix products, walked in blocks that stay in cache; no array is larger than the posterior.
A block's products are too small to gain from BLAS threads: run one thread a fit (OMP_NUM_THREADS=1) on a busy machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crowdml.aggregation.base import Aggregation, TieRule, check_prior, vote_shares
from crowdml.aggregation.confusion import FLOOR, given_counts, infer_posterior, known_only, normalise_log, one_hot
from crowdml.labels import CrowdLabels

Array = NDArray[np.float64]

SETTLED = 1e-3
"""The M-step ends early once no Newton step spreads the logits of a row by more than this."""

MAX_PENALTY_SHARE = 1 / 3
"""The default worker penalty is at most this share of labels per item times the data's mean curvature in a logit."""


@dataclass(frozen=True)
class MinimaxEntropy(TieRule):
    """Minimax entropy with quadratic penalties on worker and item terms.

    Args:
        lambda_worker: penalty of the worker terms, positive.  None is the authors' 0.25 * n_classes**2, but at most
            labels_per_worker * labels_per_item / (3 * n_classes**2) (means over the crowd): with many classes the
            authors' rule outweighs the data and every posterior collapses to the uniform one.
        lambda_item: penalty of the item terms, positive; None is the authors'
            lambda_worker * labels_per_worker / labels_per_item.
        item_terms: False leaves the item terms out, which makes an iteration as cheap as one of Dawid-Skene.  True
            leaves them out too where they could move no posterior probability by `tol` (see `item_terms_matter`).
        init: the first posterior: "votes" are the vote shares, "majority" the majority label (ties to the lowest
            class index) as certain.
        max_iter: number of EM iterations at most.
        tol: stop when no posterior probability moves by more than this.
        inner_iter: Newton steps on the worker and on the item terms in one M-step at most.
    """

    lambda_worker: float | None = None
    lambda_item: float | None = None
    item_terms: bool = True
    init: Literal["votes", "majority"] = "votes"
    max_iter: int = 100
    tol: float = 1e-3
    inner_iter: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.init not in ("votes", "majority"):
            raise ValueError(f'init must be "votes" or "majority", got {self.init!r}')
        for name in ("lambda_worker", "lambda_item"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise ValueError(f"{name} must be positive and finite, or None, got {value}")
        for name in ("max_iter", "inner_iter"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Run EM.

        Args:
            crowd: the annotations.
            prior: (n_classes,) or (n_items, n_classes), normalised here; kept fixed.  None is uniform.

        Returns:
            The Aggregation.  `objective` is the log likelihood of the annotations minus the penalties and never
            falls.  `confusion` is the mean of pi over the items that the worker labelled, weighted by their
            posterior, and uniform for a class that the worker never met.
        """
        given_prior = check_prior(prior, crowd)
        class_prior = np.full(crowd.n_classes, 1 / crowd.n_classes) if given_prior is None else given_prior
        posterior = vote_shares(crowd, given_prior)
        if self.init == "majority":
            posterior = one_hot(posterior.argmax(axis=1), crowd.n_classes)
        penalty = self.penalties(crowd)
        worker_term = np.zeros((crowd.n_workers, crowd.n_classes, crowd.n_classes))
        use_items = self.item_terms and item_terms_matter(crowd, penalty.item, self.tol)
        item_term = np.zeros((crowd.n_items, crowd.n_classes)) if use_items else None
        blocks = split_by_worker(crowd) if use_items else []
        objective: list[float] = []
        converged = False
        while len(objective) < self.max_iter and not converged:
            given = np.ascontiguousarray(given_counts(crowd, posterior))
            moved = np.inf
            for _ in range(self.inner_iter):
                expected = expected_by_worker(blocks, posterior, worker_term, item_term, given)
                moved = newton_step(worker_term, expected, given, penalty.worker)
                if item_term is not None:
                    expected = expected_by_item(blocks, posterior, worker_term, item_term)
                    moved = max(moved, newton_step(item_term, expected, crowd.votes, penalty.item))
                if moved <= SETTLED:
                    break
            updated, log_evidence = infer(crowd, blocks, worker_term, item_term, class_prior)
            objective.append(float(log_evidence.sum()) - penalty.of(worker_term, item_term))
            converged = moved <= SETTLED and bool(np.abs(updated - posterior).max() <= self.tol)
            posterior = updated
        confusion = _mean_confusion(crowd, blocks, posterior, worker_term, item_term)
        return self.conclude(
            crowd,
            posterior,
            class_prior,
            confusion=confusion,
            n_iter=len(objective),
            converged=converged,
            objective=objective,
        )

    def penalties(self, crowd: CrowdLabels) -> Penalties:
        """The penalties in force for a crowd: those given, or the defaults."""
        per_worker, per_item = crowd.n_annotations / crowd.n_workers, crowd.n_annotations / crowd.n_items
        worker = self.lambda_worker
        if worker is None:
            # A logit of a worker who has labelled per_worker items meets a curvature of per_worker / n_classes**2.
            largest = MAX_PENALTY_SHARE * per_item * per_worker / crowd.n_classes**2
            worker = min(0.25 * crowd.n_classes**2, largest)
        return Penalties(worker, worker * per_worker / per_item if self.lambda_item is None else self.lambda_item)


class Penalties(NamedTuple):
    """The weights of half the squared worker terms and of half the squared item terms."""

    worker: float
    item: float

    def of(self, worker_term: Array, item_term: Array | None) -> float:
        """What the terms cost in the objective."""
        cost = self.worker * float(np.vdot(worker_term, worker_term))
        if item_term is not None:
            cost += self.item * float(np.vdot(item_term, item_term))
        return cost / 2


def item_terms_matter(crowd: CrowdLabels, penalty: float, tol: float) -> bool:
    """Whether item terms under this penalty could move a posterior probability by more than tol.

    At the optimum penalty * item_term[i, l] = votes - expected votes, so no term of an item with k annotations exceeds
    k / penalty.  Each of its k normalisers then moves by at most that, so log odds by 2 k**2 / penalty, and a
    probability by at most a quarter of that: below 0.001 where some workers label tens of thousands of items each.
    """
    return float(crowd.labels_per_item.max()) ** 2 / (2 * penalty) > tol


class Block(NamedTuple):
    """Some items of one worker: their indices, and (n, 1) how often the worker answered each, or None for once."""

    worker: int
    items: NDArray[np.int64] | slice
    times: Array | None


def split_by_worker(crowd: CrowdLabels, *, max_cells: int = 40_000) -> list[Block]:
    """The crowd as blocks of one worker and distinct items, each of at most max_cells // n_classes items."""
    pair, times = np.unique(crowd.worker.astype(np.int64) * crowd.n_items + crowd.item, return_counts=True)
    worker, item = np.divmod(pair, crowd.n_items)
    repeated = times.max() > 1
    bounds = np.searchsorted(worker, np.arange(crowd.n_workers + 1))
    size = max(1, max_cells // crowd.n_classes)
    blocks = []
    for index, (first, last) in enumerate(pairwise(bounds.tolist())):
        for start in range(first, last, size):
            part = slice(start, min(start + size, last))
            items = item[part]
            # Where every worker labels every item, a slice spares a copy in each product.
            dense = int(items[-1]) - int(items[0]) + 1 == len(items)
            chosen = slice(int(items[0]), int(items[-1]) + 1) if dense else items
            blocks.append(Block(index, chosen, times[part, None].astype(float) if repeated else None))
    return blocks


def expected_by_worker(
    blocks: list[Block], posterior: Array, worker_term: Array, item_term: Array | None, given: Array
) -> Array:
    """(n_workers, n_classes, n_classes) with [w, c, l] = sum_i q_ic pi_iw(l | c): the model's side of `given_counts`.

    Without item terms this needs no pass over the items: pi is the same for all, and `given` has their weight.
    """
    weight = _exp(worker_term)
    if item_term is None:
        weight *= given.sum(axis=2, keepdims=True) / weight.sum(axis=2, keepdims=True)
        return weight
    item_weight = _exp(item_term)
    total = np.zeros_like(worker_term)
    for block in blocks:
        total[block.worker] += _share(block, posterior, weight, item_weight).T @ item_weight[block.items]
    total *= weight
    return total


def expected_by_item(blocks: list[Block], posterior: Array, worker_term: Array, item_term: Array) -> Array:
    """(n_items, n_classes) with [i, l] = sum_wc q_ic pi_iw(l | c): the model's side of `crowd.votes`."""
    weight, item_weight = _exp(worker_term), _exp(item_term)
    total = np.zeros_like(item_term)
    for block in blocks:
        total[block.items] += _share(block, posterior, weight, item_weight) @ weight[block.worker]
    total *= item_weight
    return total


def newton_step(term: Array, expected: Array, given: Array, penalty: float) -> float:
    """One Newton step on every row of logits of `term`, in place; the penalised loss of no row can rise.

    The Hessian of a row, a mean of softmax curvatures, is at most that of the mean distribution (Jensen):
    diag(expected) - expected expected.T / n + penalty, of which the inverse is closed (Sherman-Morrison).  A softmax
    curvature changes by at most a factor exp(spread of the step), so with this bound a step shortened by
    log(1 + spread) / spread cannot climb (F. Bach, "Self-concordant analysis for logistic regression", 2010).

    Returns:
        The largest spread (largest minus smallest entry of a row) of a step before it was shortened.
    """
    scale = 1 / (expected + penalty)
    step = (given - expected - penalty * term) * scale
    along = (expected * step).sum(axis=-1, keepdims=True)
    scale *= expected
    # Rows without any weight have scale = 0 and along = 0.
    step += scale * (along / np.maximum(penalty * scale.sum(axis=-1, keepdims=True), np.finfo(float).tiny))
    spread = step.max(axis=-1, keepdims=True) - step.min(axis=-1, keepdims=True)
    step *= np.log1p(spread) / np.maximum(spread, FLOOR)
    term += step
    return float(spread.max())


def infer(
    crowd: CrowdLabels, blocks: list[Block], worker_term: Array, item_term: Array | None, prior: Array
) -> tuple[Array, Array]:
    """E-step: the posterior (n_items, n_classes) and the log likelihood of each item's annotations (n_items,)."""
    if item_term is None:
        return infer_posterior(crowd, _softmax(worker_term), prior)
    weight, item_weight = _exp(worker_term), _exp(item_term)
    shifted = worker_term - worker_term.max(axis=-1, keepdims=True)
    log_posterior = crowd.indicator @ shifted.transpose(0, 2, 1).reshape(-1, crowd.n_classes)
    shifted = item_term - item_term.max(axis=-1, keepdims=True)
    log_posterior += (crowd.votes * shifted).sum(axis=1, keepdims=True)
    log_posterior += np.log(np.maximum(prior, FLOOR))
    for block in blocks:
        log_normaliser = np.log(item_weight[block.items] @ weight[block.worker].T)
        log_posterior[block.items] -= log_normaliser if block.times is None else log_normaliser * block.times
    return normalise_log(known_only(crowd, log_posterior))


def _mean_confusion(
    crowd: CrowdLabels, blocks: list[Block], posterior: Array, worker_term: Array, item_term: Array | None
) -> Array:
    given = np.ascontiguousarray(given_counts(crowd, posterior))
    expected = expected_by_worker(blocks, posterior, worker_term, item_term, given)
    total = expected.sum(axis=2, keepdims=True)
    return np.where(total > FLOOR, expected / np.maximum(total, FLOOR), 1 / crowd.n_classes)


def _share(block: Block, posterior: Array, weight: Array, item_weight: Array) -> Array:
    """(n, n_classes) times * q_ic / Z_iw(c) of the items of a block."""
    share = item_weight[block.items] @ weight[block.worker].T
    np.divide(posterior[block.items], share, out=share)
    if block.times is not None:
        share *= block.times
    return share


def _exp(logits: Array) -> Array:
    """exp of logits with the largest of each row shifted to 0, which no ratio to a normaliser notices."""
    return np.exp(logits - logits.max(axis=-1, keepdims=True))


def _softmax(logits: Array) -> Array:
    weight = _exp(logits)
    weight /= weight.sum(axis=-1, keepdims=True)
    return weight
