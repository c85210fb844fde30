"""Bootstrapping: train on a mixture of the label and the network's own prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from crowdml.learning.batch import Batch
from crowdml.learning.learner import LabelLearner, LossTerms
from crowdml.learning.learners.noise_layer import check_share, cross_entropy
from crowdml.learning.likelihood import log_probabilities
from crowdml.support.search_space import Choice, Float, Space


@dataclass(frozen=True)
class Bootstrapping(LabelLearner):
    """Cross-entropy with a target that mixes the label and the network's prediction.

    Reed et al., "Training deep neural networks on noisy labels with bootstrapping" (ICLR workshop 2015), eqs. 6 and 7.

    Args:
        target: see LabelLearner.
        trust: beta of the paper, weight of the label in the target, in [0, 1].  The paper takes 0.95 for the soft form
            and 0.8 for the hard form.
        hard: mix with the most probable class instead of the predicted distribution.
        detach: stop the gradient through the prediction in the target, unlike the paper.
    """

    trust: float = 0.95
    hard: bool = False
    detach: bool = False

    SPACE: ClassVar[Space] = {
        **LabelLearner.SPACE,
        "trust": Float(0.5, 1),
        "hard": Choice(False, True),
        "detach": Choice(False, True),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("trust", self.trust)

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the mean cross-entropy with the mixed target."""
        log_class, target = log_probabilities(model(batch.inputs)), batch.target(self.target)
        if self.hard:
            return {"bootstrapping": hard_bootstrapping(log_class, target, trust=self.trust)}
        return {"bootstrapping": soft_bootstrapping(log_class, target, trust=self.trust, detach=self.detach)}


def soft_bootstrapping(log_class: Tensor, target: Tensor, *, trust: float, detach: bool = False) -> Tensor:
    """Return the mean of -sum_c (trust y_c + (1 - trust) f_c) log f_c over the items, scalar (Reed et al., eq. 6).

    Args:
        log_class: (n, n_classes) log f.
        target: y, (n,) int64 labels or (n, n_classes) distributions.
        trust: weight of y.
        detach: treat f in the target as a constant.
    """
    own = log_class.exp()
    entropy = -((own.detach() if detach else own) * log_class).sum(dim=1).mean()
    return trust * cross_entropy(log_class, target) + (1 - trust) * entropy


def hard_bootstrapping(log_class: Tensor, target: Tensor, *, trust: float) -> Tensor:
    """Return the mean of -sum_c (trust y_c + (1 - trust) z_c) log f_c over the items, scalar (Reed et al., eq. 7).

    z is 1 for the most probable class and 0 for the others.  For the arguments see `soft_bootstrapping`.
    """
    return trust * cross_entropy(log_class, target) - (1 - trust) * log_class.amax(dim=1).mean()
