"""Small tasks and learners for tests of training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from crowdml.datasets.data import ImageData
from crowdml.learning.inputs import InMemory
from crowdml.learning.observers import Observers, ReportPoint, ignore_point
from crowdml.learning.recipe import Recipe, TrainingSettings
from crowdml.learning.task import Task


def blobs(n_items: int = 240, n_classes: int = 3, side: int = 8, seed: int = 0) -> ImageData:
    """Images whose class is the place of a bright square; easy to learn."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n_items) % n_classes
    images = rng.integers(0, 60, (n_items, 1, side, side)).astype(np.uint8)
    for place in range(n_classes):
        images[labels == place, :, 2 * place : 2 * place + 2, 2:6] += 150
    half = n_items // 2
    return ImageData("blobs", images[:half], labels[:half], images[half:], labels[half:], tuple("abcdefgh"[:n_classes]))


def make(
    data: ImageData,
    *,
    network: Callable[[], nn.Module] | None = None,
    seed: int = 0,
    report: ReportPoint = ignore_point,
    **recipe,
) -> Task:
    """A task on the CPU with a linear network unless one is given."""
    assert data.train_images is not None
    assert data.test_images is not None
    n_pixels = int(np.prod(data.train_images.shape[1:]))
    settings = {"epochs": 3, "batch_size": 16, "lr": 0.05, "weight_decay": 0.0, **recipe}
    scale, shift = torch.tensor([1 / (255 * 0.25)]), torch.tensor([0.2 / 0.25])
    return Task(
        inputs=InMemory(torch.from_numpy(data.train_images), scale, shift),
        test_inputs=InMemory(torch.from_numpy(data.test_images), scale, shift),
        test_labels=torch.from_numpy(data.test_labels),
        n_classes=data.n_classes,
        build_network=network or (lambda: nn.Sequential(nn.Flatten(), nn.Linear(n_pixels, data.n_classes))),
        settings=TrainingSettings("linear", Recipe(**settings), seed),
        observers=Observers(report=report),
        truth=torch.from_numpy(data.train_labels),
    )


class Fixed(nn.Module):
    """A network that predicts the same probabilities for every image; its one weight changes nothing."""

    logits: Tensor

    def __init__(self, probabilities: list[float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.register_buffer("logits", torch.log(torch.tensor(probabilities)))

    def forward(self, images: Tensor) -> Tensor:
        return self.logits + 0 * self.weight + torch.zeros((len(images), 1))
