"""Inputs of a network: the protocol, and inputs that lie in one tensor on the device."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crowdml.datasets.data import channel_statistics
from crowdml.learning.augment import augment
from crowdml.learning.features import check_features, feature_scaling, scale_features
from crowdml.learning.recipe import InputForm
from crowdml.learning.whiten import whiten
from crowdml.support.torch_device import default_device

_LEAST_CONTRAST = 1e-6  # a channel is constant below this deviation of its pixels, which are in [0, 1]


class Inputs(Protocol):
    """The inputs of a set of items: images or feature vectors, which are normalised and augmented batch by batch."""

    @property
    def device(self) -> torch.device:
        """Device of the batches."""
        ...

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one item's input: (channels, height, width) or (n_features,)."""
        ...

    @property
    def predict_batch(self) -> int:
        """Number of items per batch of a prediction, which needs no gradients."""
        ...

    def __len__(self) -> int:
        """Number of items."""
        ...

    def batches(
        self, indices: Iterable[Tensor], *, kind: str = "none", generator: torch.Generator | None = None, views: int = 1
    ) -> Iterator[tuple[Tensor, ...]]:
        """Yield the float inputs (n, ...) for each (n,) tensor of item indices, once per view.

        Args:
            indices: one tensor of item indices per batch.
            kind: kind of augmentation, see `augment`; each view is augmented anew.
            generator: source of the random draws of the augmentation, on the device.
            views: number of views.
        """
        ...


class InMemory:
    """Inputs that lie in one tensor on the device.

    Args:
        values: (n_items, channels, height, width) or (n_items, n_features), uint8 or float.
        scale, shift: (channels,) on the device; the normalised inputs are `values * scale - shift`.  By default the
            values are already normalised.
    """

    def __init__(self, values: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> None:
        self.values = values
        across = (-1, *([1] * (values.ndim - 2)))
        self._scale = None if scale is None else scale.reshape(across)
        self._shift = None if shift is None else shift.reshape(across)

    @property
    def device(self) -> torch.device:
        """Device of the values."""
        return self.values.device

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one item's input."""
        return tuple(self.values.shape[1:])

    @property
    def predict_batch(self) -> int:
        """2,048 items, because items of a data set that fits into memory are small."""
        return 2048

    def __len__(self) -> int:
        return len(self.values)

    def take(self, items: Tensor) -> Tensor:
        """Return the normalised inputs (n, ...) of (n,) items."""
        normal = self.values[items].float()
        if self._scale is not None and self._shift is not None:
            normal = normal * self._scale - self._shift
        on_gpu = self.device.type == "cuda" and normal.ndim == 4
        return normal.contiguous(memory_format=torch.channels_last) if on_gpu else normal

    def batches(
        self, indices: Iterable[Tensor], *, kind: str = "none", generator: torch.Generator | None = None, views: int = 1
    ) -> Iterator[tuple[Tensor, ...]]:
        """Yield the inputs batch by batch; see `Inputs.batches`."""
        for items in indices:
            normal = self.take(items)
            if kind == "none" or generator is None:
                yield (normal,) * views
            else:
                yield tuple(augment(normal, kind, generator) for _ in range(views))


def in_memory(
    train: NDArray, test: NDArray | None, form: InputForm, device: torch.device | str = "auto"
) -> tuple[InMemory, InMemory | None]:
    """Return the training and the test inputs on a device, normalised by the statistics of the training items.

    Args:
        train: (n_items, channels, height, width) uint8 images, or (n_items, n_features) real features.
        test: test items in the same format, or None.
        form: kind of normalisation, see `Recipe.inputs`.
        device: a torch device; "auto" is the GPU of this process, or the CPU if there is none.

    Raises:
        ValueError: a feature is not finite or too large, or the form is "whitened" for features.
    """
    device = torch.device(default_device() if device == "auto" else device)
    both = (train,) if test is None else (train, test)
    if form == "whitened":
        if train.ndim != 4:
            raise ValueError('recipe.inputs "whitened" is for images; take "standard" for features')
        tensors = whiten(_on_device(train, device), None if test is None else _on_device(test, device))
        found = [InMemory(values) for values in tensors if values is not None]
    else:
        if train.ndim == 2:
            check_features(train)
        centre, scale = scaling(train, form)
        if train.ndim == 2:
            found = [InMemory(_on_device(scale_features(values, centre, scale), device)) for values in both]
        else:
            parts = [torch.as_tensor(part, dtype=torch.float32, device=device) for part in (scale, centre * scale)]
            found = [InMemory(_on_device(values, device), *parts) for values in both]
    return found[0], None if test is None else found[1]


def scaling(train: NDArray, form: InputForm) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return centre and scale, each (channels,) or (n_features,); the inputs are `(values - centre) * scale`.

    Args:
        train: training items, see `in_memory`; `check_features` has checked features.
        form: "standard" or "unit", see `Recipe.inputs`.
    """
    if train.ndim == 4:
        mean, std = channel_statistics(train)
        if form == "unit":
            return np.zeros(len(mean)), np.full(len(mean), 1 / 255)
        varies = std > _LEAST_CONTRAST * np.maximum(1.0, mean)
        return 255 * mean, 1 / (255 * np.where(varies, std, np.inf))
    if form == "unit":
        return np.zeros(train.shape[1]), np.ones(train.shape[1])
    return feature_scaling(train)


def _on_device(array: NDArray, device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        # Arrays from Ray's object store are read-only.  Nothing writes to these tensors, so no copy is needed.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)
