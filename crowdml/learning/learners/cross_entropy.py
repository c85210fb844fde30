"""Plain cross-entropy: the learner that takes its labels for true."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.nn import functional

from crowdml.learning.batch import Batch
from crowdml.learning.learner import LabelLearner, LossTerms


@dataclass(frozen=True)
class CrossEntropy(LabelLearner):
    """Train the network as it is on the labels, or on the whole posterior."""

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Mean cross-entropy of a batch."""
        return {"cross_entropy": functional.cross_entropy(model(batch.inputs), batch.target(self.target))}
