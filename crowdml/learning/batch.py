"""Batch and Epoch: what the training loop gives to a learner."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from crowdml.learning.annotations import BatchAnnotations
from crowdml.learning.supervision import Supervision, Target


@dataclass(frozen=True, eq=False)
class Batch:
    """The items of one training step.

    Args:
        views: inputs (n, ...) of the items: one tensor, or several differently augmented ones if the learner's `views`
            is above 1.
        items: (n,) int64 indices of the items among all training items.
        given: supervision of all training items.
        epoch: number of the epoch, counted from 0.
        n_epochs: number of epochs of this training.
    """

    views: tuple[Tensor, ...]
    items: Tensor
    given: Supervision
    epoch: int
    n_epochs: int

    @property
    def inputs(self) -> Tensor:
        """The first view: (n, ...) inputs of the items."""
        return self.views[0]

    def target(self, form: Target) -> Tensor:
        """Return the labels (n,) or the posterior (n, n_classes) of the items."""
        return self.given.target(form)[self.items]

    @property
    def labels(self) -> Tensor:
        """(n,) int64, one class per item."""
        return self.given.labels[self.items]

    @property
    def annotations(self) -> BatchAnnotations:
        """Every annotation of the items."""
        return self.given.crowd.of(self.items)


@dataclass(frozen=True, eq=False)
class Epoch:
    """An epoch that begins: its number, counted from 0, the number of epochs, and the (n,) indices of its items."""

    number: int
    n_epochs: int
    items: Tensor
