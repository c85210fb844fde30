"""Plain cross-entropy: the learner that takes its labels for true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from crowdml.learning.base import Task


@dataclass(frozen=True)
class CrossEntropy:
    """Train the network as it is on the labels, or on the whole posterior.

    Args:
        target: "labels" or "posterior".
    """

    target: Literal["labels", "posterior"] = "labels"

    def build(self, task: Task) -> nn.Module:
        """The network itself."""
        return task.build_network()

    def loss(self, model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
        """Mean cross-entropy of a batch; see Learner."""
        return functional.cross_entropy(model(images), target)
