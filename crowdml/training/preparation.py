"""Preparation: how items become inputs of a network; saved with the trained network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from crowdml.learning.features import scale_features
from crowdml.learning.inputs import InMemory, Inputs, scaling
from crowdml.learning.recipe import InputForm
from crowdml.training.folders.decoding import TrainCrop
from crowdml.training.folders.streaming import Streamed
from crowdml.training.items import Items, some

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and deviation of the red, green and blue pixels of ImageNet in [0, 1], which torchvision's weights expect."""


@dataclass(frozen=True)
class Preparation:
    """How items become inputs.

    Args:
        in_shape: shape of one input: (channels, height, width) or (n_features,).
        centre, scale: (channels,) or (n_features,); an input is `(values - centre) * scale`, computed in float64 for
            features.  The scale of a feature that is constant in training is 0.
        columns: the names of the features; empty if the features have no names.
        side: images are resized to this side; None keeps their size.
        streamed: whether images are read from their files during training.
    """

    in_shape: tuple[int, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    columns: tuple[str, ...] = ()
    side: int | None = None
    streamed: bool = False

    def __post_init__(self) -> None:
        for name in ("in_shape", "centre", "scale", "columns"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def channels(self) -> int | None:
        """The number of channels of an image; None if the items are features."""
        return self.in_shape[0] if len(self.in_shape) == 3 else None

    @property
    def dropped(self) -> tuple[str, ...]:
        """The names, or the numbers, of the features that are constant in training; the network does not see them."""
        if self.channels is not None:
            return ()
        names = self.columns or tuple(map(str, range(len(self.scale))))
        return tuple(name for name, scale in zip(names, self.scale, strict=True) if scale == 0)

    def notes(self) -> list[str]:
        """Return what the user should know before the training, one line per fact."""
        return [f"features that are constant in training, left out: {some(self.dropped)}"] if self.dropped else []

    def inputs(
        self, items: Items, device: torch.device, *, threads: int = 2, train_crop: TrainCrop = "shift"
    ) -> Inputs:
        """Return the items as inputs of the network; for `threads` and `train_crop` of streamed images see Streamed.

        Raises:
            ValueError: the items are not of the kind that the network was trained on.
        """
        centre, scale = np.array(self.centre), np.array(self.scale)
        if self.streamed:
            if not items.paths:
                raise ValueError(f"{items.source}: the network was trained on image files; give a folder of images")
            return Streamed(
                items.paths, self.in_shape[1], scale=self.scale, shift=(centre * scale).tolist(), device=device,
                threads=threads, train_crop=train_crop,
            )  # fmt: skip
        if items.values is None or items.in_shape != self.in_shape:
            raise ValueError(f"{items.source}: an item has the shape {items.in_shape}, in training {self.in_shape}")
        if self.columns and items.columns and items.columns != self.columns:
            differ = [pair for pair in zip(items.columns, self.columns, strict=True) if pair[0] != pair[1]]
            here, before = differ[0]
            raise ValueError(f"{items.source}: feature {here!r} stands where {before!r} stood in training")
        if self.channels is None:
            values = scale_features(items.values, centre, scale, items.source, items.columns)
            return InMemory(torch.from_numpy(values).to(device))
        values = torch.from_numpy(np.ascontiguousarray(items.values)).to(device)
        parts = (torch.tensor(part, dtype=torch.float32, device=device) for part in (scale, centre * scale))
        return InMemory(values, *parts)


def prepare(items: Items, form: InputForm, side: int | None) -> Preparation:
    """Return how items become inputs, computed from the training items.

    Streamed images are normalised by the statistics of ImageNet, because reading all images would take as long as an
    epoch.

    Args:
        items: the training items.
        form: see `inputs` of Recipe.
        side: the side to which images are resized; streamed images need a side.

    Raises:
        ValueError: `form` depends on all items of a data set, so that new items cannot be prepared; or every feature is
            constant.
    """
    if form == "whitened":
        raise ValueError('inputs "whitened" is for experiments on data sets; take "standard" or "unit"')
    if items.values is not None:
        centre, scale = scaling(items.values, form)
        in_shape = items.values.shape[1:]
        prepared = Preparation(in_shape, tuple(centre.tolist()), tuple(scale.tolist()), items.columns, side)
        if len(in_shape) == 1 and len(prepared.dropped) == in_shape[0]:
            raise ValueError(f"{items.source}: every feature is constant in the training items; nothing can be learned")
        return prepared
    assert side is not None
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if form == "standard" else ((0.0,) * 3, (1.0,) * 3)
    centre, scale = 255 * np.array(mean), 1 / (255 * np.array(std))
    return Preparation((3, side, side), tuple(centre.tolist()), tuple(scale.tolist()), side=side, streamed=True)
