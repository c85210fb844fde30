"""Symmetric cross-entropy: cross-entropy and its reverse (Wang, Ma, Chen, Luo, Yi, Bailey, ICCV 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from crowdml.learning.batch import Batch
from crowdml.learning.learner import LabelLearner, LossTerms
from crowdml.learning.targets import expected
from crowdml.support.search_space import Real, Space


@dataclass(frozen=True)
class SymmetricCrossEntropy(LabelLearner):
    """alpha CE(label, prediction) + beta CE(prediction, label), where log 0 is taken to be A.

    The paper's settings: alpha 0.01 and beta 1 for MNIST, 0.1 and 1 for CIFAR-10, 6 and 0.1 for CIFAR-100.  Its A is -4
    (and -6 in places); the authors' code clips labels at 1e-4, which is an A of -9.2.

    Args:
        target: see LabelLearner; of a posterior the expected loss.
        alpha: weight of cross-entropy, not negative.
        beta: weight of reverse cross-entropy, not negative.
        log_zero: A, below 0.
    """

    alpha: float = 0.1
    beta: float = 1.0
    log_zero: float = -4.0

    SPACE: ClassVar[Space] = {
        **LabelLearner.SPACE,
        "alpha": Real(0.01, 10, log=True),
        "beta": Real(0.05, 10, log=True),
        "log_zero": Real(-8, -1),
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
        """Means over the batch, by direction."""
        logits, target = model(batch.inputs).float(), batch.target(self.target)
        reverse = reverse_cross_entropy(logits.softmax(dim=1), target, self.log_zero)
        return {
            "cross_entropy": self.alpha * functional.cross_entropy(logits, target),
            "reverse_cross_entropy": self.beta * reverse.mean(),
        }


def reverse_cross_entropy(predicted: Tensor, target: Tensor, log_zero: float) -> Tensor:
    """(n,) -sum_c p_c log y_c of each item: the label's own logarithm is 0, so -log_zero (1 - p_y) remains.

    Args:
        predicted: (n, n_classes) probabilities p.
        target: (n,) int64 labels, or (n, n_classes) distributions, of which the expected loss is taken.
        log_zero: what log 0 stands for.
    """
    return -log_zero * (1 - expected(predicted, target))
