"""Supervision: what is known about the classes of the training items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crowdml.labels import CrowdLabels
from crowdml.learning.annotations import Annotations

Target = Literal["labels", "posterior"]
"""What a label learner trains on: one class per item ("labels"), or one distribution per item ("posterior")."""


@dataclass(frozen=True, eq=False)
class Supervision:
    """What is known about the classes of the training items, all on one device.

    Args:
        labels: (n_items,) int64, one class per item.
        posterior: (n_items, n_classes) float32, one distribution over classes per item.
        annotations: every annotation of the crowd, for learners that train on annotations; otherwise None.
    """

    labels: Tensor
    posterior: Tensor
    annotations: Annotations | None = None

    def target(self, form: Target) -> Tensor:
        """Return the labels (n_items,) or the posterior (n_items, n_classes)."""
        return self.labels if form == "labels" else self.posterior

    @property
    def crowd(self) -> Annotations:
        """The annotations of the crowd; ValueError if there are none."""
        if self.annotations is None:
            raise ValueError("this learner trains on all annotations of a crowd, but it was given one label per item")
        return self.annotations


def supervise(
    target: NDArray | Tensor,
    n_classes: int,
    *,
    labels: NDArray | Tensor | None = None,
    crowd: CrowdLabels | None = None,
    device: torch.device | str = "cpu",
) -> Supervision:
    """Return the supervision by integer labels (n_items,) or by a float posterior (n_items, n_classes).

    Args:
        target: the labels or the posterior.
        n_classes: number of classes.
        labels: (n_items,) the class chosen for each item of a posterior; by default its most probable class.
        crowd: every annotation, for learners that train on annotations.
        device: where all tensors are put.

    Raises:
        ValueError: a label is out of range, or the posterior has another number of classes.
    """
    given = torch.as_tensor(target, device=device)
    annotations = None if crowd is None else Annotations(crowd, torch.device(device))
    if given.ndim == 1:
        hard = given.long()
        if len(hard) and (int(hard.min()) < 0 or int(hard.max()) >= n_classes):
            raise ValueError(f"labels must be in [0, {n_classes}), got {int(hard.min())} to {int(hard.max())}")
        return Supervision(hard, nn.functional.one_hot(hard, n_classes).float(), annotations)
    if given.shape[1] != n_classes:
        raise ValueError(f"the posterior has {given.shape[1]} classes, the task {n_classes}")
    hard = given.argmax(dim=1) if labels is None else torch.as_tensor(labels, device=device).long()
    if len(hard) and int(hard.min()) < 0:
        raise ValueError('a network needs a label for every item; use another rule than ties="abstain"')
    return Supervision(hard, given.float(), annotations)
