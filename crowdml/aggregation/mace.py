"""MACE: on each item, a worker either knows the answer or spams.

D. Hovy, T. Berg-Kirkpatrick, A. Vaswani and E. Hovy, "Learning Whom to Trust with MACE", NAACL-HLT 2013.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike
from scipy.special import digamma, gammaln

from crowdml.aggregation.aggregator import Aggregation, Sizes, TieRule, check_choice, check_least, checked, dense_cells
from crowdml.aggregation.inference.confusion import FLOOR, known_only, normalise_log, normalise_rows
from crowdml.aggregation.inference.dirichlet import beta_interval
from crowdml.aggregation.inference.prior_and_gold import check_prior, gold_answers
from crowdml.aggregation.inference.threads import cut, run_parts
from crowdml.labels import Array, CrowdLabels
from crowdml.support.search_space import Choice, Float, Space

BLOCK_CELLS = 16_384
"""Cells (item, class, start) per block: 128 KiB, which fit in the second-level cache of a core."""


@dataclass(frozen=True)
class Mace(TieRule):
    """MACE: worker w knows the answer with probability theta_w.  Otherwise w draws a label from xi_w.

    All starts run together in one pass over the annotations, and the start with the best objective is kept.  The first
    start has theta = 1/2 and uniform xi.  The other starts draw both.  Gold labels and histories correct the starts.

    Args:
        inference: "vb" is variational Bayes with Beta priors on theta and Dirichlet priors on xi.  "em" is maximum
            likelihood with `smoothing`.
        n_starts: number of starts.
        theta_prior: both parameters of the Beta prior.
        strategy_prior: parameter of the Dirichlet prior, per label.
        smoothing: "em" adds smoothing / n_classes to each expected count, as the authors' program does.
        max_iter, tol: stop after max_iter iterations, or when no objective rises by more than tol per annotation.
    """

    inference: Literal["vb", "em"] = "vb"
    n_starts: int = 10
    theta_prior: float = 0.5
    strategy_prior: float = 10.0
    smoothing: float = 0.01
    max_iter: int = 500
    tol: float = 1e-7

    SPACE: ClassVar[Space] = {
        "inference": Choice("vb", "em"),
        "theta_prior": Float(0.1, 10, log=True),
        "strategy_prior": Float(1, 100, log=True),
        "smoothing": Float(1e-4, 1, log=True),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "inference", "vb", "em")
        check_least(self, 1, "n_starts", "max_iter")
        for name in ("theta_prior", "strategy_prior"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        check_least(self, 0, "smoothing", "tol")

    def peak_cells(self, sizes: Sizes) -> float:
        """See TieRule."""
        return dense_cells(sizes, posteriors=5, tables=24 * self.n_starts)

    @checked
    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Run EM or variational Bayes from all starts.

        Args:
            crowd: the annotations.  Gold items keep their class, and a history counts as answers to gold items.
            prior: (n_classes,) or (n_items, n_classes).  By default uniform.  It is not estimated.

        Returns:
            The Aggregation of the best start.  `objective` is the evidence lower bound; for "em" it is the log
            likelihood plus the log density of the smoothing.  A worker's quality is the probability to know the true
            class, plus the probability to spam this class by chance.  For "vb", `worker_quality_interval` is set.
        """
        fixed_prior = check_prior(prior, crowd)
        class_prior = np.full(crowd.n_classes, 1 / crowd.n_classes) if fixed_prior is None else fixed_prior
        log_prior = np.log(np.maximum(class_prior, FLOOR))
        weights = self._starts(crowd)
        logs = _log_means(weights)
        counts, _ = _expect(crowd, logs, log_prior)
        bounds: list[Array] = []
        converged = False
        while len(bounds) < self.max_iter and not converged:
            weights = self._maximise(counts)
            logs = _log_expectations(weights) if self.inference == "vb" else _log_means(weights)
            counts, evidence = _expect(crowd, logs, log_prior)
            bounds.append(evidence + self._log_density(weights, logs))
            rise = bounds[-1] - bounds[-2] if len(bounds) > 1 else np.inf
            converged = bool(np.max(rise) <= self.tol * crowd.n_annotations)
        best = int(bounds[-1].argmax())
        logs = _Behaviour(*(part[..., [best]] for part in logs))
        return self.conclude(
            crowd,
            _posterior(crowd, logs, log_prior),
            class_prior,
            converged=converged,
            objective=[float(bound[best]) for bound in bounds],
            **self._competence(_Behaviour(*(part[..., best] for part in weights)), class_prior),
        )

    def _starts(self, crowd: CrowdLabels) -> _Behaviour:
        shape = (crowd.n_workers, crowd.n_classes + 2, self.n_starts)
        drawn = np.random.default_rng(self.seed).uniform(1, 2.5, shape)
        drawn[..., 0] = 1
        # Start from gold labels and histories.  Otherwise the many votes would outweigh them in the first M-step.
        right, given = gold_answers(crowd)
        wrong = (given - right)[..., None]
        know, spam = drawn[:, 0] + right.sum(axis=1, keepdims=True), drawn[:, 1] + wrong.sum(axis=1)
        return _Behaviour(know, spam, drawn[:, 2:] + wrong)

    def _pseudo_counts(self, n_classes: int) -> tuple[float, float]:
        """Return the pseudo-counts of theta and of xi."""
        smoothing = self.smoothing / n_classes
        return (self.theta_prior, self.strategy_prior) if self.inference == "vb" else (smoothing, smoothing)

    def _maximise(self, counts: _Behaviour) -> _Behaviour:
        """M-step: return the parameters of the Beta and Dirichlet distributions of theta and xi."""
        theta, strategy = self._pseudo_counts(counts.strategy.shape[1])
        return _Behaviour(counts.know + theta, counts.spam + theta, counts.strategy + strategy)

    def _log_density(self, weights: _Behaviour, logs: _Behaviour) -> Array:
        """Return the (n_starts,) part of the objective that does not come from the annotations."""
        theta, strategy = self._pseudo_counts(weights.strategy.shape[1])
        if self.inference == "em":
            return theta * (logs.know + logs.spam).sum(axis=0) + strategy * logs.strategy.sum(axis=(0, 1))
        coin, coin_logs = (np.stack([part.know, part.spam], axis=1) for part in (weights, logs))
        return -_divergence(coin, coin_logs, theta) - _divergence(weights.strategy, logs.strategy, strategy)

    def _competence(self, weights: _Behaviour, class_prior: Array) -> dict[str, Any]:
        """Return confusion and quality of the workers, as arguments of `conclude`, from the weights of one start."""
        marginal = class_prior if class_prior.ndim == 1 else class_prior.mean(axis=0)
        spam = normalise_rows(np.stack([weights.know, weights.spam], axis=1))[:, 1]
        strategy = normalise_rows(weights.strategy)
        confusion = partial(_confusion, spam, strategy)
        hit = strategy @ marginal
        quality = 1 - spam * (1 - hit)
        if self.inference == "em":
            return {"confusion": confusion, "quality": quality}
        # A worker who errs spams and misses the truth.  The two are independent, so their second moments multiply.
        spam_square = spam * (weights.spam + 1) / (weights.know + weights.spam + 1)
        miss_square = (1 - hit) ** 2 + (strategy @ marginal**2 - hit**2) / (weights.strategy.sum(axis=1) + 1)
        variance = spam_square * miss_square - (1 - quality) ** 2
        spread = {"quality_se": np.sqrt(variance), "quality_interval": beta_interval(quality, variance)}
        return {"confusion": confusion, "quality": quality} | spread


def _confusion(spam: Array, strategy: Array) -> Array:
    """Return the workers' matrices, from their probabilities to spam and the labels (n_workers, n_classes) of spam."""
    knows = (1 - spam)[:, None, None] * np.eye(strategy.shape[1])
    return spam[:, None, None] * strategy[:, None, :] + knows


class _Behaviour(NamedTuple):
    """Counts, weights or log probabilities of what the workers do, for each start.

    Attributes:
        know: (n_workers, n_starts) the worker knows the answer.
        spam: (n_workers, n_starts) the worker spams.
        strategy: (n_workers, n_classes, n_starts) the worker gives this label when spamming.
    """

    know: Array
    spam: Array
    strategy: Array


def _log_means(weights: _Behaviour) -> _Behaviour:
    """Return the logarithms of the mean probabilities under these weights."""
    coin = np.log(np.maximum(weights.know + weights.spam, FLOOR))
    total = np.log(np.maximum(weights.strategy.sum(axis=1, keepdims=True), FLOOR))
    know, spam, strategy = (np.log(np.maximum(part, FLOOR)) for part in weights)
    return _Behaviour(know - coin, spam - coin, strategy - total)


def _log_expectations(weights: _Behaviour) -> _Behaviour:
    """Return the expected logarithms of the probabilities whose Beta and Dirichlet posteriors have these weights."""
    coin = digamma(weights.know + weights.spam)
    total = digamma(weights.strategy.sum(axis=1, keepdims=True))
    know, spam, strategy = (digamma(part) for part in weights)
    return _Behaviour(know - coin, spam - coin, strategy - total)


def _divergence(weights: Array, logs: Array, prior: float) -> Array:
    """Return (n_starts,) the KL divergence of Dirichlets (n_workers, n, n_starts) from their symmetric prior."""
    n = weights.shape[1]
    each = gammaln(weights.sum(axis=1)) - gammaln(weights).sum(axis=1) - gammaln(n * prior) + n * gammaln(prior)
    return (each + ((weights - prior) * logs).sum(axis=1)).sum(axis=0)


def _expect(crowd: CrowdLabels, logs: _Behaviour, log_prior: Array) -> tuple[_Behaviour, Array]:
    """E-step: return the expected counts, and the log likelihood (n_starts,).

    If the truth is another class, label l has the probability s x_l (spammed).  If the truth is l, it has the
    probability s x_l + k.  So for each answer, an item needs only the logarithm of the ratio of the two, for the class
    given.  For each label, a worker needs only the sum of the posterior probabilities that the label is right.
    """
    spammed, ratio = _label_logs(logs)
    right, evidence = _process_all(crowd, ratio.reshape(-1, ratio.shape[-1]), np.atleast_2d(log_prior))
    right = right.reshape(ratio.shape)
    given = crowd.labels_given[:, :, None].astype(np.float64)
    if crowd.history is not None:
        before = np.diagonal(crowd.history, axis1=1, axis2=2)[:, :, None]
        right += before
        given += crowd.history.sum(axis=1)[:, :, None]
        evidence = evidence + (before * ratio).sum(axis=(0, 1))
    known = right * -np.expm1(-ratio)
    strategy = given - known
    return _Behaviour(known.sum(axis=1), strategy.sum(axis=1), strategy), evidence + (given * spammed).sum(axis=(0, 1))


def _label_logs(logs: _Behaviour) -> tuple[Array, Array]:
    """Return log(s x_l) and log((s x_l + k) / (s x_l)), each (n_workers, n_classes, n_starts)."""
    spammed = logs.spam[:, None] + logs.strategy
    return spammed, np.logaddexp(spammed, logs.know[:, None]) - spammed


def _posterior(crowd: CrowdLabels, logs: _Behaviour, log_prior: Array) -> Array:
    """Return the (n_items, n_classes) posterior of the only start in `logs`."""
    ratio = _label_logs(logs)[1].ravel()
    item = np.repeat(np.arange(crowd.n_items), crowd.labels_per_item)
    cell = item * crowd.n_classes + crowd.by_item.label
    size = crowd.n_items * crowd.n_classes
    score = np.bincount(cell, weights=ratio[crowd.answers], minlength=size).reshape(crowd.n_items, crowd.n_classes)
    return normalise_log(known_only(crowd, score + log_prior))[0]


def _process_all(crowd: CrowdLabels, ratio: Array, log_prior: Array) -> tuple[Array, Array]:
    """Return (n_workers * n_classes, n_starts) expected right answers, and (n_starts,) sums of log normalisers."""
    start, _, label = crowd.by_item
    answer = crowd.answers
    gold = np.full(crowd.n_items, -1) if crowd.gold is None else crowd.gold.astype(np.int64)
    n_classes, n_starts = crowd.n_classes, ratio.shape[1]
    size = max(1, BLOCK_CELLS // (n_classes * n_starts))

    def process(first: int, last: int) -> tuple[Array, Array]:
        right, evidence = np.zeros_like(ratio), np.zeros(n_starts)
        scores, total = np.empty((size, n_classes, n_starts)), np.empty((size, n_starts))
        for at in range(first, last, size):
            end = min(at + size, last)
            _add_scores(start, answer, label, ratio, log_prior, gold, at, end, scores, evidence)
            np.exp(scores[: end - at], out=scores[: end - at])
            _add_right(start, answer, label, at, end, scores, total, right)
            evidence += np.log(total[: end - at]).sum(axis=0)
        return right, evidence

    rights, evidences = zip(*run_parts(process, cut(start, n_starts, ratio.size)), strict=True)
    return np.sum(rights, axis=0), np.sum(evidences, axis=0)


# ---------------------------------------------------------------- kernels


@njit(cache=True, nogil=True)
def _add_scores(start, answer, label, ratio, log_prior, gold, first, last, scores, evidence):
    """Write the log posteriors minus their maximum, and add the maximum to the evidence."""
    n_classes, n_starts = np.uintp(scores.shape[1]), np.uintp(scores.shape[2])
    same_prior = len(log_prior) == 1
    for item in range(first, last):
        block = scores[item - first]
        prior = log_prior[0 if same_prior else item]
        for c in range(n_classes):
            for r in range(n_starts):
                block[c, r] = prior[c]
        for at in range(np.uintp(start[item]), np.uintp(start[item + 1])):
            given, c = np.uintp(answer[at]), np.uintp(label[at])
            for r in range(n_starts):
                block[c, r] += ratio[given, r]
        if gold[item] >= 0:
            for c in range(n_classes):
                if c != gold[item]:
                    block[c] = -np.inf
        for r in range(n_starts):
            top = block[0, r]
            for c in range(n_classes):
                top = max(top, block[c, r])
            for c in range(n_classes):
                block[c, r] -= top
            evidence[r] += top


@njit(cache=True, nogil=True)
def _add_right(start, answer, label, first, last, scores, total, right):
    """Write the normaliser of each item, and add up for each answer the posterior probability that it is right."""
    n_classes, n_starts = np.uintp(scores.shape[1]), np.uintp(scores.shape[2])
    for item in range(first, last):
        block, row = scores[item - first], total[item - first]
        for r in range(n_starts):
            row[r] = 0.0
        for c in range(n_classes):
            for r in range(n_starts):
                row[r] += block[c, r]
        for at in range(np.uintp(start[item]), np.uintp(start[item + 1])):
            given, c = np.uintp(answer[at]), np.uintp(label[at])
            for r in range(n_starts):
                right[given, r] += block[c, r] / row[r]
