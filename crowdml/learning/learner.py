"""Learner: a noise-aware way to train a network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from crowdml.learning.batch import Batch, Epoch
from crowdml.learning.recipe import Recipe
from crowdml.learning.supervision import Supervision, Target
from crowdml.learning.task import Task
from crowdml.support.field_values import convert_fields
from crowdml.support.search_space import Choice, Space

LossTerms = dict[str, Tensor]
"""Name of a term -> scalar tensor.  The loss is the sum of its terms."""


@dataclass(frozen=True)
class Learner:
    """A noise-aware method: a frozen dataclass of hyper-parameters.  The model holds everything that the method learns.

    To write a new learner, override `loss`.  Override `build` if the method needs more than the network, and
    `begin_epoch` if it processes all items between epochs.  For several trainings in sequence, derive from
    `StagedLearner`.
    """

    views: ClassVar[int] = 1
    """Number of differently augmented versions of the inputs in a batch."""
    one_process: ClassVar[bool] = False
    """Whether data-parallel training is refused, because the model stores values per item."""

    SPACE: ClassVar[Space] = {}
    """Option name -> range in which the option can be searched."""

    def __post_init__(self) -> None:
        convert_fields(self)

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """Return a fresh model; its forward maps normalised inputs to logits (n, n_classes) of the true class."""
        return task.build_network()

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the terms of the loss, averaged over a batch.

        `model.training` is False for held-out items; the learner must learn nothing from them.
        """
        raise NotImplementedError

    def begin_epoch(self, model: nn.Module, task: Task, given: Supervision, epoch: Epoch) -> None:
        """Do what the method needs before every epoch; by default nothing."""

    def parameter_groups(self, model: nn.Module, recipe: Recipe) -> Iterable[dict[str, Any]]:
        """Return the parameter groups for the optimiser; by default one group with every trainable parameter."""
        return [{"params": [parameter for parameter in model.parameters() if parameter.requires_grad]}]


@dataclass(frozen=True)
class LabelLearner(Learner):
    """A learner from one label or one distribution over classes per item, which works with every aggregator.

    Args:
        target: "labels" trains on the class chosen for each item, "posterior" on the whole distribution.
    """

    target: Target = "labels"

    SPACE: ClassVar[Space] = {"target": Choice("labels", "posterior")}
