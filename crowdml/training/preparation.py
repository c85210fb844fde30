"""What a trained network expects of its inputs, and how items become them: kept with the network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from crowdml.learning.inputs import InMemory, Inputs, scaling
from crowdml.learning.recipe import InputForm
from crowdml.training.folders.streaming import Streamed
from crowdml.training.items import Items


@dataclass(frozen=True)
class Preparation:
    """How items become inputs.

    Args:
        in_shape: of one input: (channels, height, width) or (n_features,).
        scale, shift: (channels,) or (n_features,); an input is `values * scale - shift`.  Empty for images that are
            streamed from their files, which are normalised as ImageNet is.
        columns: the names of the features where they have some.
        side: to which images are resized; None takes them as they are.
        streamed: images are read from their files as they are needed.
    """

    in_shape: tuple[int, ...]
    scale: tuple[float, ...] = ()
    shift: tuple[float, ...] = ()
    columns: tuple[str, ...] = ()
    side: int | None = None
    streamed: bool = False

    def __post_init__(self) -> None:
        for name in ("in_shape", "scale", "shift", "columns"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def is_images(self) -> bool:
        """Whether the items are images."""
        return len(self.in_shape) == 3

    def inputs(self, items: Items, device: torch.device) -> Inputs:
        """The items as inputs of the network.

        Raises:
            ValueError: they are not such as the network was trained on.
        """
        if self.streamed:
            if not items.paths:
                raise ValueError(f"{items.source}: the network was trained on image files, and these are none")
            return Streamed(items.paths, self.in_shape[1], device=device)
        if items.values is None or items.in_shape != self.in_shape:
            raise ValueError(f"{items.source}: an item has the shape {items.in_shape}, in training {self.in_shape}")
        if self.columns and items.columns and items.columns != self.columns:
            differ = [pair for pair in zip(items.columns, self.columns, strict=True) if pair[0] != pair[1]]
            here, before = differ[0]
            raise ValueError(f"{items.source}: feature {here!r} stands where {before!r} did in training")
        if self.is_images != (items.values.dtype == np.uint8):
            raise ValueError(f"{items.source}: images must be uint8, as in training; got {items.values.dtype}")
        values = torch.from_numpy(np.ascontiguousarray(items.values)).to(device)
        scale, shift = (torch.tensor(part, dtype=torch.float32, device=device) for part in (self.scale, self.shift))
        return InMemory(values, scale, shift)


def prepare(items: Items, form: InputForm, side: int | None) -> Preparation:
    """What the training items say of the inputs.

    Args:
        items: the training items.
        form: see Recipe.
        side: to which their images were resized, if they were.

    Raises:
        ValueError: a form that new items cannot be brought into.
    """
    if form == "whitened":
        raise ValueError('inputs "whitened" is for experiments on data sets; take "standard" or "unit"')
    if items.values is None:
        if side is None:
            raise ValueError(f"{items.source}: images that are streamed need --side PIXELS")
        if form != "standard":
            raise ValueError(f'images that are streamed are normalised as ImageNet is: inputs "standard", got "{form}"')
        return Preparation((3, side, side), side=side, streamed=True)
    scale, shift = scaling(items.values, form)
    return Preparation(items.values.shape[1:], tuple(scale.tolist()), tuple(shift.tolist()), items.columns, side)
