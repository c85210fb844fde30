"""Minimax conditional entropy: the confusion of an item depends on its class.

D. Zhou, Q. Liu, J. Platt, C. Meek, "Aggregating Ordinal Labels from Crowds by Minimax Conditional Entropy", ICML 2014,
and D. Zhou, Q. Liu, J. Platt, C. Meek, N. Shah, arXiv 1503.07240 (2015), for multiclass labels.  In the dual, worker w
gives item i of class c the label l with probability

    pi_iw(l | c) = exp(worker_term[w, c, l] + item_term[i, c, l]) / Z_iw(c).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crowdml.aggregation.aggregator import Sizes
from crowdml.aggregation.minimax.minimax_em import FreeLogits, Minimax, Terms, item_terms_matter
from crowdml.labels import CrowdLabels


@dataclass(frozen=True)
class MinimaxConditional(Minimax):
    """Minimax entropy with a matrix of logits per worker and per item.  `Minimax` describes the other arguments.

    Args:
        max_bytes: memory limit of the items' matrices, which take 8 * n_items * n_classes**2 bytes.  If a crowd needs
            more, `fit` raises ValueError.
    """

    max_bytes: float = 8e9

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.max_bytes > 0:
            raise ValueError(f"max_bytes must be positive, got {self.max_bytes}")

    def peak_cells(self, sizes: Sizes) -> float:
        """See TieRule."""
        items = sizes.n_items * sizes.n_classes**2 if self.item_terms else 0
        return super().peak_cells(sizes) + items

    def first_terms(self, crowd: CrowdLabels) -> Terms:
        """Return terms of zero: (n_workers, n_classes, n_classes) and (n_items, n_classes, n_classes)."""
        penalty = self.penalties(crowd)
        worker = np.zeros((crowd.n_workers, crowd.n_classes, crowd.n_classes))
        item = None
        if self.item_terms and item_terms_matter(crowd, penalty.item, self.tol):
            needed = 8 * crowd.n_items * crowd.n_classes**2
            if needed > self.max_bytes:
                raise ValueError(
                    f"the matrices of {crowd.n_items} items and {crowd.n_classes} classes take {needed / 1e9:.1f} GB, "
                    f"more than max_bytes = {self.max_bytes:g}; raise max_bytes, or use MinimaxEntropy"
                )
            item = np.zeros((crowd.n_items, crowd.n_classes, crowd.n_classes))
        return Terms(crowd, penalty, FreeLogits(), worker, item)
