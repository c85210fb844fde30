"""JointResult: labels and a network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from crowdml.aggregation.aggregator import Aggregation


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
