"""Networks whose logits a test writes down, and noisy labels, for tests of methods with several networks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from crowdml.learning.batch import Batch
from crowdml.learning.evaluate import SeveralNetworks
from crowdml.learning.learner import Learner, LossTerms
from crowdml.learning.supervision import Supervision, supervise


class Given(SeveralNetworks):
    """Networks that give logits (n_networks, n, n_classes), whatever the inputs are."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__([])
        self.logits = logits

    def member_logits(self, inputs: Tensor) -> Tensor:
        return self.logits


def batch_of(labels: list[int] | Tensor | Supervision, n_classes: int, epoch: int = 0) -> Batch:
    """All items in one batch."""
    given = labels if isinstance(labels, Supervision) else supervise(torch.as_tensor(labels), n_classes)
    n = len(given.labels)
    return Batch((torch.zeros(n, 1),), torch.arange(n), given, epoch, n_epochs=epoch + 1)


def terms_of(learner: Learner, logits: Tensor, labels: list[int] | Tensor, *, epoch: int = 0) -> LossTerms:
    """A learner's terms in training."""
    return learner.loss(Given(logits), batch_of(labels, logits.shape[2], epoch))


def total(terms: LossTerms) -> Tensor:
    """The loss."""
    return torch.stack(list(terms.values())).sum()


def random_logits(n_networks: int, n: int = 7, n_classes: int = 3, seed: int = 0) -> Tensor:
    """(n_networks, n, n_classes) float64."""
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(n_networks, n, n_classes, generator=generator, dtype=torch.float64)


def flipped(truth: np.ndarray, rate: float, n_classes: int, seed: int = 0) -> np.ndarray:
    """Labels of which a share is another class, drawn evenly."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(truth)) < rate
    return np.where(wrong, (truth + rng.integers(1, n_classes, len(truth))) % n_classes, truth)
