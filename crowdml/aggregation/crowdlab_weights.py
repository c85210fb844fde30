"""CROWDLAB: a weighted ensemble of the workers and of a classifier trained on the items.

H. W. Goh, U. Tkachenko, J. Mueller, "CROWDLAB: Supervised learning to infer consensus labels and quality scores for
data with multiple annotators", arXiv 2210.06812 (2022).  A worker's vote is a distribution with P on the label given,
the same P for all workers; worker and classifier weigh by how much less they err than the label of the most common
class would, the worker measured against the other workers, the classifier against the consensus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crowdml.aggregation.aggregator import Aggregation, TieRule, agreement, break_ties, check_prior, keep_gold
from crowdml.labels import CrowdLabels

Array = NDArray[np.float64]

LEAST = 1e-6
"""Weights and the baseline's error are floored here, as in the authors' code."""


@dataclass(frozen=True)
class Crowdlab(TieRule):
    """CROWDLAB from a classifier's predictions for the items, passed to `fit` as the prior.

    The predictions must come from networks that did not train on the item (out of fold); `crowdml.joint.crowdlab`
    makes such.
    Workers and classifier are measured against the majority first, ties decided by the classifier, and then against
    what the ensemble itself concludes.
    """

    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Weigh and average.

        Args:
            crowd: the annotations.  A gold item's class is its consensus and answers for one more worker; a history
                counts as answers compared with as many others.
            prior: (n_items, n_classes) the classifier's probabilities, normalised here; an item without annotations
                keeps them.

        Returns:
            The Aggregation.  `label_doubt` is one minus the paper's label quality, `worker_quality` its annotator
            quality, and `posterior[i, labels[i]]` its consensus quality.

        Raises:
            ValueError: no prior of each item, or no item with two annotations (or one and a gold label): then no
                worker can be measured.
        """
        predicted = check_prior(prior, crowd)
        if predicted is None or predicted.ndim == 1:
            raise ValueError(
                "Crowdlab needs prior: a classifier's out-of-fold probabilities of shape (n_items, n_classes) = "
                f"({crowd.n_items}, {crowd.n_classes}); method crowdlab of a grid trains the classifier itself"
            )
        peers = compare_with_peers(crowd)
        tied = np.where(crowd.votes == crowd.votes.max(axis=1, keepdims=True), predicted, -1.0)
        consensus = break_ties(keep_gold(crowd, tied), crowd, self.ties, self.seed)
        first = average(crowd, predicted, weigh(crowd, predicted, peers, consensus))
        consensus = break_ties(first, crowd, self.ties, self.seed)
        ensemble = weigh(crowd, predicted, peers, consensus)
        posterior = average(crowd, predicted, ensemble)
        quality = worker_quality(crowd, posterior, peers, consensus, ensemble)
        return self.conclude(crowd, posterior, predicted, quality=quality, n_iter=2)


class Peers(NamedTuple):
    """How the workers agree with each other.

    Attributes:
        shared: (n_items,) whether the item has something to compare an annotation with.
        agreed: (n_workers,) share of agreement with the others' answers to the same items; the mean of the other
            workers for one who shares no item.
    """

    shared: NDArray[np.bool_]
    agreed: Array


class Ensemble(NamedTuple):
    """The weights of an ensemble.

    Attributes:
        worker: (n_workers,) weights w_j.
        classifier: weight w_M.
        right: P, the probability that a worker's vote puts on the label given.
    """

    worker: Array
    classifier: float
    right: float


def compare_with_peers(crowd: CrowdLabels) -> Peers:
    """Agreement of each worker with the other annotations (and the gold label) of its items, pair by pair."""
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
    """The weights of workers and classifier, judged on the items that the workers share."""
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
    """(n_items, n_classes) the ensemble's mean prediction; gold items are certain."""
    cell = crowd.item.astype(np.int64) * crowd.n_classes + crowd.label
    given = np.bincount(cell, ensemble.worker[crowd.worker], crowd.n_items * crowd.n_classes).reshape(predicted.shape)
    total = given.sum(axis=1, keepdims=True)
    wrong = (1 - ensemble.right) / max(crowd.n_classes - 1, 1)
    summed = ensemble.classifier * predicted + ensemble.right * given + wrong * (total - given)
    return keep_gold(crowd, summed / (ensemble.classifier + total))


def worker_quality(
    crowd: CrowdLabels, posterior: Array, peers: Peers, consensus: NDArray[np.int64], ensemble: Ensemble
) -> Array:
    """(n_workers,) mean of a worker's label quality and of its agreement with the consensus on shared items.

    They weigh as the classifier and the workers do in a mean item.  A worker who shares no item has no agreement: the
    label quality alone speaks.
    """
    label_quality = agreement(crowd, posterior)
    counted = peers.shared[crowd.item]
    right = np.bincount(crowd.worker, counted & (crowd.label == consensus[crowd.item]), crowd.n_workers)
    n_counted = np.bincount(crowd.worker, counted, crowd.n_workers)
    agreed = np.where(n_counted > 0, right / np.maximum(n_counted, 1), label_quality)
    mean_labels = crowd.n_annotations / (crowd.labels_per_item > 0).sum()
    share = ensemble.classifier / (ensemble.classifier + ensemble.worker.mean() * mean_labels)
    return share * label_quality + (1 - share) * agreed
