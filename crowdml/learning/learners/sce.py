"""Symmetric cross-entropy: cross-entropy plus reverse cross-entropy (Wang, Ma, Chen, Luo, Yi, Bailey, ICCV 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from crowdml.learning.batch import Batch
from crowdml.learning.learner import LabelLearner, LossTerms
from crowdml.learning.targets import expected
from crowdml.support.search_space import Float, Space


@dataclass(frozen=True)
class SymmetricCrossEntropy(LabelLearner):
    """Minimise alpha CE(label, prediction) + beta CE(prediction, label), where log 0 is replaced by A.

    The paper takes alpha 0.01 and beta 1 for MNIST, 0.1 and 1 for CIFAR-10, and 6 and 0.1 for CIFAR-100.  It takes
    A = -4 (in some places -6).  The authors' code clips labels at 1e-4, which means A = -9.2.

    Args:
        target: see LabelLearner; for a posterior the loss is the expected loss.
        alpha: weight of the cross-entropy, at least 0.
        beta: weight of the reverse cross-entropy, at least 0.
        log_zero: A of the paper, below 0.
    """

    alpha: float = 0.1
    beta: float = 1.0
    log_zero: float = -4.0

    SPACE: ClassVar[Space] = {
        **LabelLearner.SPACE,
        "alpha": Float(0.01, 10, log=True),
        "beta": Float(0.05, 10, log=True),
        "log_zero": Float(-8, -1),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("alpha", "beta"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.alpha == self.beta == 0:
            raise ValueError("alpha and beta must not both be 0")
        if not self.log_zero < 0:
            raise ValueError(f"log_zero must be below 0, got {self.log_zero}")

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the weighted mean terms "cross_entropy" and "reverse_cross_entropy"."""
        logits, target = model(batch.inputs).float(), batch.target(self.target)
        reverse = reverse_cross_entropy(logits.softmax(dim=1), target, self.log_zero)
        return {
            "cross_entropy": self.alpha * functional.cross_entropy(logits, target),
            "reverse_cross_entropy": self.beta * reverse.mean(),
        }


def reverse_cross_entropy(predicted: Tensor, target: Tensor, log_zero: float) -> Tensor:
    """Return -sum_c p_c log y_c for each item, (n,), where p are probabilities (n, n_classes).

    log y is 0 for the label, so the result is -log_zero (1 - p_y).  `target` holds labels (n,), or distributions
    (n, n_classes) for the expected loss.
    """
    return -log_zero * (1 - expected(predicted, target))
