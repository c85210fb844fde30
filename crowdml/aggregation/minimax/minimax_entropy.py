"""Regularised minimax entropy: an answer depends on the worker and on the item.

D. Zhou, J. Platt, S. Basu, Y. Mao, "Learning from the Wisdom of Crowds by Minimax Entropy", NIPS 2012, with the
quadratic penalties of D. Zhou, Q. Liu, J. Platt, C. Meek, N. Shah, arXiv 1503.07240 (2015).  In the dual, worker w
gives item i of class c the label l with probability

    pi_iw(l | c) = exp(worker_term[w, c, l] + item_term[i, l]) / Z_iw(c).

EM finds the terms that maximise the log likelihood minus both penalties.  Without item terms, this is Dawid-Skene with
a penalty on logits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crowdml.aggregation.minimax.minimax_em import FreeLogits, Minimax, Terms, item_terms_matter
from crowdml.labels import CrowdLabels


@dataclass(frozen=True)
class MinimaxEntropy(Minimax):
    """Minimax entropy with a matrix of logits per worker and a row of logits per item.  See `Minimax` for arguments."""

    def first_terms(self, crowd: CrowdLabels) -> Terms:
        """Return terms of zero: (n_workers, n_classes, n_classes) and (n_items, 1, n_classes)."""
        penalty = self.penalties(crowd)
        worker = np.zeros((crowd.n_workers, crowd.n_classes, crowd.n_classes))
        use_items = self.item_terms and item_terms_matter(crowd, penalty.item, self.tol)
        item = np.zeros((crowd.n_items, 1, crowd.n_classes)) if use_items else None
        return Terms(crowd, penalty, FreeLogits(), worker, item)
