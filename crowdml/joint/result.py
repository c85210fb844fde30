"""JointResult: labels and a network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from crowdml.aggregation.aggregator import Aggregation
from crowdml.learning.trainer import Trainer


@dataclass(frozen=True, eq=False)
class JointResult:
    """Labels and a network: what a joint method gives, or an aggregator and the learner after it.

    Attributes:
        aggregation: the labels.
        model: the network, as last trained.
        n_trainings: network trainings, every fold counted.
        n_images, seconds: training images seen and seconds spent, over all trainings.
    """

    aggregation: Aggregation
    model: nn.Module
    n_trainings: int
    n_images: int
    seconds: float

    @classmethod
    def of(cls, aggregation: Aggregation, model: nn.Module, trainer: Trainer) -> JointResult:
        """Return the result with the costs that the trainer has counted."""
        return cls(aggregation, model, trainer.n_trainings, trainer.n_images, trainer.seconds)
