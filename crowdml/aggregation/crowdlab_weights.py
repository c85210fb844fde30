"""CROWDLAB: a weighted ensemble of the workers and a classifier that was trained on the items.

H. W. Goh, U. Tkachenko, J. Mueller, "CROWDLAB: Supervised learning to infer consensus labels and quality scores for
data with multiple annotators", arXiv 2210.06812 (2022).  A worker's vote is a distribution with probability P on the
label given, with the same P for all workers.  A weight says how much lower the error of a worker or of the classifier
is than the error of a baseline, which always predicts the most common class.  The error of a worker is the disagreement
with the other workers.  The error of the classifier is the disagreement with the consensus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crowdml.aggregation.aggregator import Aggregation, Sizes, TieRule, agreement, break_ties, checked, dense_cells
from crowdml.aggregation.inference.prior_and_gold import check_prior, keep_gold
from crowdml.labels import Array, CrowdLabels

LEAST = 1e-6
"""Lower limit of the weights and of the baseline's error, as in the authors' code."""


@dataclass(frozen=True)
class Crowdlab(TieRule):
    """CROWDLAB, with the predictions of a classifier passed to `fit` as the prior.

    The predictions must be out of fold: from networks that did not train on the item.  `crowdml.joint.crowdlab` makes
    such predictions.  The first consensus is the majority vote, with ties broken by the classifier.  The second
    consensus is the result of the first ensemble.
    """

    def peak_cells(self, sizes: Sizes) -> float:
        """See TieRule."""
        return dense_cells(sizes, posteriors=10)

    def check(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> None:
        """See TieRule."""
        if prior is None or np.ndim(prior) == 1:
            raise ValueError(
                "Crowdlab needs prior: a classifier's out-of-fold probabilities of shape (n_items, n_classes) = "
                f"({crowd.n_items}, {crowd.n_classes}); method crowdlab of a grid trains the classifier itself"
            )

    @checked
    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Compute the weights and the weighted average.

        Args:
            crowd: the annotations.  The consensus of a gold item is its class, which also counts as the answer of one
                more worker.  Each answer in a history counts as one comparison, with the true class.
            prior: (n_items, n_classes) the classifier's probabilities, normalised here.  They are the posterior of an
                item without annotations.

        Returns:
            The Aggregation.  `label_doubt` is one minus the paper's label quality, `worker_quality` is its annotator
            quality, and `posterior[i, labels[i]]` is its consensus quality.

        Raises:
            ValueError: there is no prior per item; or no item has two annotations (or one and a gold label), so that no
                worker can be compared.
        """
        predicted = check_prior(prior, crowd)
        assert predicted is not None
        ties = "lowest" if self.ties == "abstain" else self.ties  # the weights need a consensus for every item
        peers = compare_with_peers(crowd)
        tied = np.where(crowd.votes == crowd.votes.max(axis=1, keepdims=True), predicted, -1.0)
        consensus = break_ties(keep_gold(crowd, tied), crowd, ties, self.seed)
        first = average(crowd, predicted, weigh(crowd, predicted, peers, consensus))
        consensus = break_ties(first, crowd, ties, self.seed)
        ensemble = weigh(crowd, predicted, peers, consensus)
        posterior = average(crowd, predicted, ensemble)
        quality = worker_quality(crowd, posterior, peers, consensus, ensemble)
        return self.conclude(crowd, posterior, predicted, quality=quality, n_iter=2)


class Peers(NamedTuple):
    """How the workers agree with each other.

    Attributes:
        shared: (n_items,) True if the item's annotations can be compared with another answer.
        agreed: (n_workers,) share of agreement with the other answers to the same items.  A worker who shares no item
            gets the mean of the other workers.
    """

    shared: NDArray[np.bool_]
    agreed: Array


class Ensemble(NamedTuple):
    """The weights of an ensemble.

    Attributes:
        worker, classifier: the weights w_j (n_workers,) of the workers, and the weight w_M of the classifier.
        right: P, the probability that a worker's vote puts on the label given.
    """

    worker: Array
    classifier: float
    right: float


def compare_with_peers(crowd: CrowdLabels) -> Peers:
    """Return the workers' agreement with the other annotations, and with the gold label, of the same items."""
    answers = crowd.votes.copy()
    if crowd.gold is not None:
        known = np.flatnonzero(crowd.gold >= 0)
        answers[known, crowd.gold[known]] += 1
    others = answers.sum(axis=1) - 1
    same = np.bincount(crowd.worker, answers[crowd.item, crowd.label] - 1, crowd.n_workers)
    pairs = np.bincount(crowd.worker, others[crowd.item], crowd.n_workers)
    shared = (others > 0) & (crowd.labels_per_item > 0)
    if not shared.any():
        raise ValueError("CROWDLAB needs at least one item with two annotations, the crowd has none")
    if crowd.history is not None:
        same += np.trace(crowd.history, axis1=1, axis2=2)
        pairs += crowd.history.sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        agreed = same / pairs
    return Peers(shared, np.where(pairs > 0, agreed, agreed[pairs > 0].mean()))


def weigh(crowd: CrowdLabels, predicted: Array, peers: Peers, consensus: NDArray[np.int64]) -> Ensemble:
    """Return the weights of the workers and the classifier, computed on the items that workers share."""
    shared = peers.shared
    classes = consensus[shared]
    agreed = crowd.votes[np.arange(crowd.n_items), consensus][shared] / crowd.labels_per_item[shared]
    baseline_error = max(float((classes != np.bincount(classes).argmax()).mean()), LEAST)
    classifier_error = float((predicted[shared].argmax(axis=1) != classes).mean())
    mean_labels = crowd.n_annotations / (crowd.labels_per_item > 0).sum()
    return Ensemble(
        np.maximum(1 - (1 - peers.agreed) / baseline_error, LEAST),
        max(1 - classifier_error / baseline_error, LEAST) * float(np.sqrt(mean_labels)),
        float(agreed.mean()),
    )


def average(crowd: CrowdLabels, predicted: Array, ensemble: Ensemble) -> Array:
    """Return the (n_items, n_classes) mean prediction of the ensemble.  Gold items are certain."""
    cell = crowd.item.astype(np.int64) * crowd.n_classes + crowd.label
    given = np.bincount(cell, ensemble.worker[crowd.worker], crowd.n_items * crowd.n_classes).reshape(predicted.shape)
    total = given.sum(axis=1, keepdims=True)
    wrong = (1 - ensemble.right) / max(crowd.n_classes - 1, 1)
    summed = ensemble.classifier * predicted + ensemble.right * given + wrong * (total - given)
    return keep_gold(crowd, summed / (ensemble.classifier + total))


def worker_quality(
    crowd: CrowdLabels, posterior: Array, peers: Peers, consensus: NDArray[np.int64], ensemble: Ensemble
) -> Array:
    """Return the (n_workers,) mean of a worker's label quality and of its agreement with the consensus on shared items.

    The two weights are the total weights of the classifier and of the workers for an average item.  For a worker who
    shares no item, the quality is the label quality alone.
    """
    label_quality = agreement(crowd, posterior)
    counted = peers.shared[crowd.item]
    right = np.bincount(crowd.worker, counted & (crowd.label == consensus[crowd.item]), crowd.n_workers)
    n_counted = np.bincount(crowd.worker, counted, crowd.n_workers)
    agreed = np.where(n_counted > 0, right / np.maximum(n_counted, 1), label_quality)
    mean_labels = crowd.n_annotations / (crowd.labels_per_item > 0).sum()
    share = ensemble.classifier / (ensemble.classifier + ensemble.worker.mean() * mean_labels)
    return share * label_quality + (1 - share) * agreed
