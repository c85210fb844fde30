"""The label model of Snorkel: workers are labelling functions, and their accuracies follow from pairwise agreement.

A. Ratner, B. Hancock, J. Dunnmon, F. Sala, S. Pandey, C. Ré, "Training Complex Models with Multi-Task Weak
Supervision", AAAI 2019, in the form of the library Snorkel (snorkel.org).  Let mu_w[l, c] = P(label l | true class c),
p the class prior, and P = diag(p).  Two independent workers give the labels l and m with probability
(mu_w P mu_v')[l, m].  One worker gives label l with probability (mu_w p)[l].  The loss is

    sum |O_wv - mu_w P mu_v'|^2  +  sum over annotations |o_w - mu_w p|^2  +  l2 sum over w |mu_w - start_w|^2

with the observed shares O_wv and o_w.  The first sum goes over all pairs of annotations of an item, by workers w and v.
Snorkel divides by the number of all items, which is right if workers choose their items independently.  But crowds take
items in batches.  On the data set rte, Snorkel's form gives 8.4 to 10.4 % wrong labels, and the form used here 7.9 %.
If every worker labels every item, the two forms are the same.

The loss needs only counts of pairs.  So the cost of a search step grows with the number of pairs of workers with a
common item, not with the number of items.  With two classes, the pairs determine mu.  With more classes, all rotations
R give the same products of mu P^(1/2) R.  Then the result depends on the start, which comes from the vote, and on `l2`,
which keeps the solution near the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeResult, minimize
from scipy.special import softmax

from crowdml.aggregation.aggregator import (
    Aggregation,
    Sizes,
    TieRule,
    check_choice,
    check_least,
    checked,
    dense_cells,
    first_posterior,
    pair_cells,
)
from crowdml.aggregation.inference.confusion import estimate_confusion, given_counts, infer_posterior
from crowdml.aggregation.inference.prior_and_gold import check_prior, keep_gold
from crowdml.labels import Array, CrowdLabels
from crowdml.support.search_space import Choice, Float, Space

START_SMOOTHING = 0.1
"""Added to each count of the start.  The search changes logits, which must be finite."""

LEAST_PROBABILITY = 0.01
"""Lower limit of the probabilities that infer the labels, as in Snorkel."""


@dataclass(frozen=True)
class LabelModel(TieRule):
    """Snorkel's label model, fitted by L-BFGS.  The result does not depend on the seed.

    Args:
        class_prior: "votes" is the mean of the vote shares, corrected by gold labels and histories.  "uniform" is
            Snorkel's default.  A prior passed to `fit` replaces both.
        l2: weight of the squared distance between a worker's matrix and its start.  Snorkel's default is 0.
        max_iter, tol: stop after max_iter L-BFGS steps, or when a step lowers the loss by less than the share tol.
    """

    class_prior: Literal["votes", "uniform"] = "votes"
    l2: float = 3.0
    max_iter: int = 300
    tol: float = 1e-7

    SPACE: ClassVar[Space] = {"class_prior": Choice("votes", "uniform"), "l2": Float(0.01, 30, log=True)}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "class_prior", "votes", "uniform")
        check_least(self, 0, "l2", "tol")
        check_least(self, 1, "max_iter")

    def peak_cells(self, sizes: Sizes) -> float:
        """See TieRule."""
        return dense_cells(sizes, posteriors=6, matrices=45) + pair_cells(sizes)

    @checked
    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Fit the workers and infer the labels.

        Args:
            crowd: the annotations.  Each answer to a gold item, or in a history, adds |e_l - mu_w[:, c]|^2 to the loss.
            prior: (n_classes,) or (n_items, n_classes), normalised here.  The pairs use its mean over the items.

        Returns:
            The Aggregation; `objective` is minus the loss per annotation, up to a constant.
        """
        given_prior = check_prior(prior, crowd)
        posterior = first_posterior(crowd, given_prior)
        if given_prior is not None:
            class_prior = given_prior
        elif self.class_prior == "uniform":
            class_prior = np.full(crowd.n_classes, 1 / crowd.n_classes)
        else:
            class_prior = posterior.mean(axis=0)
        start = estimate_confusion(crowd, posterior, START_SMOOTHING)
        moments = count_pairs(crowd)
        marginal = class_prior if class_prior.ndim == 1 else class_prior.mean(axis=0)
        objective: list[float] = []

        def loss(logits: Array) -> tuple[float, Array]:
            confusion = softmax(logits.reshape(start.shape), axis=2)
            value, gradient = pair_loss(moments, confusion, marginal)
            value += self.l2 * float(((confusion - start) ** 2).sum())
            gradient += 2 * self.l2 * (confusion - start)
            gradient = confusion * (gradient - (confusion * gradient).sum(axis=2, keepdims=True))
            return value / crowd.n_annotations, gradient.ravel() / crowd.n_annotations

        def record(intermediate_result: OptimizeResult) -> None:
            objective.append(-float(intermediate_result.fun))

        found = minimize(
            loss,
            np.log(start).ravel(),
            jac=True,
            method="L-BFGS-B",
            callback=record,
            options={"maxiter": self.max_iter, "ftol": self.tol, "gtol": 0.0},
        )
        confusion = softmax(found.x.reshape(start.shape), axis=2)
        updated, _ = infer_posterior(crowd, np.maximum(confusion, LEAST_PROBABILITY), class_prior)
        n_iter, converged = int(found.nit), bool(found.success)
        return self.conclude(
            crowd, updated, class_prior, confusion=confusion, n_iter=n_iter, converged=converged, objective=objective
        )


class PairCounts(NamedTuple):
    """The counts of a crowd that the loss needs.

    Attributes:
        agreement: (n_workers * n_classes, n_workers * n_classes) how often worker w gave label l, and worker v gave
            label m to the same item, in row (w, l) and column (v, m).  An annotation is not paired with itself.
        common: (n_workers, n_workers) number of pairs of annotations of one item, for each two workers.
        given: (n_workers, n_classes) how often each worker gave each label.
        known: (n_workers, n_classes, n_classes) number of answers l to items of known class c, at [w, c, l].
    """

    agreement: sp.csr_array
    common: sp.csr_array
    given: Array
    known: Array


def count_pairs(crowd: CrowdLabels) -> PairCounts:
    """Count all pairs of annotations of an item."""
    labels, shape = crowd.indicator, (crowd.n_items, crowd.n_workers)
    workers = sp.csr_array((np.ones(crowd.n_annotations), crowd.by_item.worker, crowd.by_item.start), shape=shape)
    known = keep_gold(crowd, np.zeros((crowd.n_items, crowd.n_classes)))
    return PairCounts(
        sp.csr_array(labels.T @ labels - sp.diags_array(crowd.labels_given.ravel().astype(np.float64))),
        sp.csr_array(workers.T @ workers - sp.diags_array(crowd.labels_per_worker.astype(np.float64))),
        crowd.labels_given.astype(np.float64),
        given_counts(crowd, known),
    )


def pair_loss(counts: PairCounts, confusion: Array, prior: Array) -> tuple[float, Array]:
    """Return the loss and its gradient, without the l2 term and without constants.

    The squared error of a pair is 1 - 2 (mu_w P mu_v')[l, m] + <K_w, K_v> with K_w = P^(1/2) mu_w' mu_w P^(1/2).  So
    the sum over pairs is a product with the counts.  The confusion is (n_workers, n_classes, n_classes) at [w, c, l].
    """
    n_workers, n_classes, _ = confusion.shape
    root = np.sqrt(prior)
    scaled = confusion * root[:, None]
    by_label = scaled.transpose(0, 2, 1).reshape(-1, n_classes)
    met = counts.agreement @ by_label
    gram = scaled @ scaled.transpose(0, 2, 1)
    gram_met = (counts.common @ gram.reshape(n_workers, -1)).reshape(gram.shape)
    value = float((gram * gram_met).sum()) - 2 * float((by_label * met).sum())
    pull = gram_met @ scaled - met.reshape(n_workers, n_classes, n_classes).transpose(0, 2, 1)
    gradient = 4 * root[:, None] * pull

    n_given = counts.given.sum(axis=1, keepdims=True)
    missed = prior @ confusion - counts.given / np.maximum(n_given, 1)
    value += float((n_given * missed**2).sum())
    gradient += 2 * prior[:, None] * (n_given * missed)[:, None, :]

    n_known = counts.known.sum(axis=2, keepdims=True)
    value += float((n_known * confusion**2 - 2 * counts.known * confusion).sum())
    gradient += 2 * (n_known * confusion - counts.known)
    return value, gradient
