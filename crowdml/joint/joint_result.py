"""JointResult: the labels of a crowd and a trained network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from crowdml.aggregation.aggregator import Aggregation
from crowdml.learning.trainer import Trainer


@dataclass(frozen=True, eq=False)
class JointResult:
    """The labels and the network of a joint method, or of an aggregator followed by a learner.

    Attributes:
        aggregation: the labels.
        model: the trained model.
        n_trainings: number of network trainings; every fold counts.
        n_images: training inputs seen, summed over all trainings.
        seconds: wall seconds of all trainings.
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
