"""The Task of training a network on the images of a folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from crowdml.learning.observers import Observers, ReportPoint, ignore_point, ignore_tick
from crowdml.learning.recipe import InputForm, Recipe, TrainingSettings
from crowdml.learning.task import Task, make_task
from crowdml.support.torch_device import default_device
from crowdml.training.folders.decoding import TrainCrop
from crowdml.training.folders.layouts import FolderItems
from crowdml.training.folders.streaming import IMAGENET_MEAN, IMAGENET_STD, Streamed

# The recipe's forms of inputs that need no pass over the images: mean and deviation of each channel.
_NORMAL = {"standard": (IMAGENET_MEAN, IMAGENET_STD), "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))}


def folder_task(
    items: FolderItems,
    *,
    network: str,
    recipe: Recipe,
    seed: int = 0,
    side: int = 224,
    weights: str | Path | None = None,
    n_classes: int | None = None,
    train_crop: TrainCrop = "shift",
    workers: int = 2,
    device: str = "auto",
    report: ReportPoint = ignore_point,
    tick: Callable[[int, float], None] = ignore_tick,
    checkpoints: Path | None = None,
) -> Task:
    """The Task of training a network on images that are read while it trains.

    Args:
        items: as `read_layout` finds them and `drop_unreadable` leaves them.
        network: name of the network.
        recipe: how it is trained; its form of inputs is "standard" (by the statistics of ImageNet) or "unit".
        seed: of all draws.
        side: of the square images that the network is given.
        weights: file of a pretrained state_dict that the network starts from, its last layer excepted; None starts
            from random weights.
        n_classes: by default as many as the items have class names.
        train_crop: what the recipe's augmentation cuts out of an image.
        workers: threads that decode.
        device: a torch device; "auto" is a GPU if there is one, the right one of several under data parallelism.
        report, tick, checkpoints: see Task.

    Raises:
        ValueError: whitened inputs, no number of classes, or weights that do not fit the network.
    """
    if recipe.inputs not in _NORMAL:
        raise ValueError(f'recipe.inputs must be "standard" or "unit" for images of a folder, got {recipe.inputs!r}')
    if n_classes is None:
        if items.class_names is None:
            raise ValueError(f"a folder of the layout {items.layout} names no classes; give n_classes")
        n_classes = len(items.class_names)
    place = torch.device(default_device() if device == "auto" else device)
    stream = partial(_stream, side=side, device=place, workers=workers, train_crop=train_crop, form=recipe.inputs)
    return make_task(
        stream(items.train_paths),
        n_classes,
        TrainingSettings(network, recipe, seed, None if weights is None else Path(weights)),
        test_inputs=stream(items.test_paths) if items.test_paths else None,
        test_labels=None if items.test_labels is None else np.asarray(items.test_labels),
        observers=Observers(report, tick, checkpoints),
    )


def _stream(
    paths: tuple[Path, ...], *, side: int, device: torch.device, workers: int, train_crop: TrainCrop, form: InputForm
) -> Streamed:
    mean, std = _NORMAL[form]
    return Streamed(paths, side, device=device, workers=workers, train_crop=train_crop, mean=mean, std=std)
