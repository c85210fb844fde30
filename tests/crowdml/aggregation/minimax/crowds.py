"""Minimax entropy written out term by term, independent of the tested code."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from crowdml.aggregation.minimax.minimax_steps import visit_expected_by_item
from crowdml.labels import CrowdLabels

Array = np.ndarray


def log_pi(crowd: CrowdLabels, worker_logits: Array, item_logits: Array) -> Array:
    """(n_annotations, n_classes, n_classes) log pi(l | c)."""
    return log_softmax(worker_logits[crowd.worker] + item_logits[crowd.item], axis=2)


def log_given(crowd: CrowdLabels, worker_logits: Array, item_logits: Array) -> Array:
    """(n_annotations, n_classes) log pi(label given | c)."""
    return log_pi(crowd, worker_logits, item_logits)[np.arange(crowd.n_annotations), :, crowd.label]


def log_evidence(crowd: CrowdLabels, worker_logits: Array, item_logits: Array) -> Array:
    """(n_items,) log likelihood of each item's annotations under a uniform class prior."""
    joint = np.zeros((crowd.n_items, crowd.n_classes))
    np.add.at(joint, crowd.item, log_given(crowd, worker_logits, item_logits))
    return np.log(np.exp(joint).mean(axis=1))


def expected_by_item(crowd: CrowdLabels, posterior: Array, worker_logits: Array, item_logits: Array) -> Array:
    """Return the expected counts that visit_expected_by_item passes for all items, in the shape of their logits."""
    total = np.full_like(item_logits, np.nan)

    def visit(items: slice, expected: Array) -> float:
        total[items] = expected
        return float(items.start)

    assert visit_expected_by_item(crowd, posterior, worker_logits, item_logits.__getitem__, visit) >= 0
    return total
