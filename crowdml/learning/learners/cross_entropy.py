"""Plain cross-entropy: the baseline learner that treats the labels as correct."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.nn import functional

from crowdml.learning.batch import Batch
from crowdml.learning.learner import LabelLearner, LossTerms


@dataclass(frozen=True)
class CrossEntropy(LabelLearner):
    """Train the network on the labels, or on the posterior, without a model of the noise."""

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the mean cross-entropy of a batch."""
        return {"cross_entropy": functional.cross_entropy(model(batch.inputs), batch.target(self.target))}
