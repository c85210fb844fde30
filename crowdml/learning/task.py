"""Task: everything that a training needs, except the labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crowdml.learning.inputs import Inputs
from crowdml.learning.observers import Observers
from crowdml.learning.recipe import TrainingSettings
from crowdml.networks import build_network
from crowdml.networks.pretrained import load_backbone


@dataclass(frozen=True, eq=False)
class Task:
    """Everything that a training needs, except the labels.  `make_task` builds a task.

    Args:
        inputs: inputs of the training items, in memory or streamed.
        test_inputs: inputs of the test items, or None.
        test_labels: (n_test,) int64 true classes of the test items on the inputs' device, or None.
        n_classes: number of classes.
        build_network: returns a freshly initialised network that maps inputs (n, ...) float to logits (n, n_classes).
        settings: network, recipe and seed.
        observers: who is told of the progress, and where checkpoints are kept.
        truth: (n_items,) int64 true classes of the training items, -1 where unknown, or None.  Only genie-aided
            baselines may read them.
    """

    inputs: Inputs
    test_inputs: Inputs | None
    test_labels: Tensor | None
    n_classes: int
    build_network: Callable[[], nn.Module]
    settings: TrainingSettings
    observers: Observers = field(default_factory=Observers)
    truth: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Device of the inputs and of the network."""
        return self.inputs.device

    @property
    def n_items(self) -> int:
        """Number of training items."""
        return len(self.inputs)

    def indices(self, items: Tensor | None) -> Tensor:
        """Return the item indices on the device of the task; None stands for all training items."""
        return torch.arange(self.n_items, device=self.device) if items is None else items.to(self.device)


def make_task(
    inputs: Inputs,
    n_classes: int,
    settings: TrainingSettings,
    *,
    test_inputs: Inputs | None = None,
    test_labels: NDArray[np.int64] | None = None,
    observers: Observers | None = None,
    truth: NDArray[np.int64] | None = None,
) -> Task:
    """Return the task of training the network of the settings on prepared inputs.  For the arguments see `Task`.

    A test label that is no class counts as wrong.  By default, there are no observers and no checkpoints.

    Raises:
        ValueError: the network does not exist, or features are to be augmented.  `build_network` raises it if the
            network does not take such inputs.
    """
    kind = settings.recipe.augment
    if kind != "none" and len(inputs.in_shape) != 3:
        raise ValueError(f'recipe.augment "{kind}" is for images; take "none" for features')
    build = partial(build_network, settings.network, inputs.in_shape, n_classes)
    if settings.weights is not None:
        build = partial(load_backbone, settings.network, inputs.in_shape, n_classes, settings.weights)
    return Task(
        inputs=inputs,
        test_inputs=test_inputs,
        test_labels=None if test_labels is None else torch.tensor(test_labels, device=inputs.device),
        n_classes=n_classes,
        build_network=build,
        settings=settings,
        observers=observers or Observers(),
        truth=None if truth is None else torch.tensor(truth, device=inputs.device),
    )
