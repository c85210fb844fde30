"""What a noise-aware learner is, and what it is given: the Learner protocol, the Task and the Trained result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from crowdml.learning.recipe import Recipe

TargetForm = Literal["labels", "posterior"]
"""What a learner trains on: one class an item (n_items,) int64, or a distribution an item (n_items, n_classes)."""

Report = Callable[[int, str, float], None]
"""`report(step, metric, value)`: one point of a curve."""


def ignore_report(step: int, metric: str, value: float) -> None:
    """A Report that keeps nothing."""


@dataclass(frozen=True, eq=False)
class Task:
    """The images and the settings of one training, everything on one device.

    Args:
        images: (n_items, channels, height, width) uint8 training images.
        mean, std: (channels,) of the training images, on the scale of [0, 1]; images are normalised with them.
        test_images: the same for the test items.
        test_labels: (n_test,) int64 true classes of the test items.
        n_classes: number of classes.
        build_network: makes a freshly initialised network, images (n, channels, height, width) float -> logits.
        recipe: how to train.
        seed: every random draw of the training follows from it.
        report: receives points of the learning curves.
    """

    images: Tensor
    mean: Tensor
    std: Tensor
    test_images: Tensor
    test_labels: Tensor
    n_classes: int
    build_network: Callable[[], nn.Module]
    recipe: Recipe
    seed: int
    report: Report = field(default=ignore_report)

    @property
    def device(self) -> torch.device:
        """Where the images are and the network is trained."""
        return self.images.device


class Learner(Protocol):
    """A method that learns from one noisy label (or posterior) an item: one file, one loss."""

    @property
    def target(self) -> TargetForm:
        """What it trains on."""
        ...

    def build(self, task: Task) -> nn.Module:
        """The model to train; its forward maps normalised images to logits (n, n_classes) of the true class."""
        ...

    def loss(self, model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
        """Mean loss of a batch: images (n, channels, height, width) float, target (n,) or (n, n_classes)."""
        ...


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model and what the training cost.

    Attributes:
        model: maps normalised images to logits.
        n_images: training images seen, over all epochs.
        seconds: wall seconds of the training, evaluation left out.
    """

    model: nn.Module
    n_images: int
    seconds: float
