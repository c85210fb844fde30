"""Put a data set on a device, ready to be learned from."""

from __future__ import annotations

import warnings
from functools import partial

import torch
from numpy.typing import NDArray
from torch import Tensor

from crowdml.datasets import ImageData, channel_statistics
from crowdml.learning import parallel
from crowdml.learning.base import Report, Task, ignore_report
from crowdml.learning.recipe import Recipe
from crowdml.networks import build_network


def make_task(
    data: ImageData,
    *,
    network: str,
    recipe: Recipe,
    seed: int,
    device: str = "auto",
    report: Report = ignore_report,
) -> Task:
    """The Task of training a network on a data set.

    Args:
        data: with images.
        network: name of the network.
        recipe: how it is trained.
        seed: of all draws.
        device: a torch device; "auto" is a GPU if there is one, the right one of several under data parallelism.
        report: receives points of the learning curves.

    Raises:
        ValueError: the data set has no images, or they do not fit the network.
    """
    if data.train_images is None or data.test_images is None:
        raise ValueError(f"data set {data.name} has labels only; a network needs images")
    place = torch.device(parallel.default_device() if device == "auto" else device)
    mean, std = channel_statistics(data.train_images)
    shape = data.train_images.shape[1:]
    return Task(
        images=_on_device(data.train_images, place),
        mean=torch.tensor(mean, dtype=torch.float32, device=place),
        std=torch.tensor(std, dtype=torch.float32, device=place).clamp_min(1e-6),
        test_images=_on_device(data.test_images, place),
        test_labels=_on_device(data.test_labels, place),
        n_classes=data.n_classes,
        build_network=partial(build_network, network, (shape[0], shape[1], shape[2]), data.n_classes),
        recipe=recipe,
        seed=seed,
        report=report,
    )


def _on_device(array: NDArray, device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        # Ray's object store hands out read-only arrays; nothing writes to these tensors, so they need no copy.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)
