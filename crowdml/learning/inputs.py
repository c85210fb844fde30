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
from crowdml.learning.recipe import InputForm
from crowdml.learning.whiten import whiten
from crowdml.support.torch_device import default_device


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
        scale, shift: (channels,) or (n_features,); the normalised inputs are `values * scale - shift`.
    """

    def __init__(self, values: Tensor, scale: Tensor, shift: Tensor) -> None:
        self.values = values
        across = (-1, *([1] * (values.ndim - 2)))
        self._scale, self._shift = scale.reshape(across), shift.reshape(across)

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
        normal = self.values[items].float() * self._scale - self._shift
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
        train: (n_items, channels, height, width) uint8 images, or (n_items, n_features) float features.
        test: test items in the same format, or None.
        form: kind of normalisation, see `Recipe.inputs`.
        device: a torch device; "auto" is the GPU of this process, or the CPU if there is none.

    Raises:
        ValueError: features are not finite, or the form is "whitened" for features.
    """
    device = torch.device(default_device() if device == "auto" else device)
    is_images = train.dtype == np.uint8
    if form == "whitened":
        if not is_images:
            raise ValueError('recipe.inputs "whitened" is for images; take "standard" for features')
        first, second = whiten(_on_device(train, device), None if test is None else _on_device(test, device))
        scale, shift = torch.ones(1, device=device), torch.zeros(1, device=device)
    else:
        first, second = _on_device(train, device), None if test is None else _on_device(test, device)
        scale, shift = (torch.as_tensor(part, dtype=torch.float32, device=device) for part in scaling(train, form))
    return InMemory(first, scale, shift), None if second is None else InMemory(second, scale, shift)


def scaling(train: NDArray, form: InputForm) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scale and shift, each (channels,) or (n_features,); normalised inputs are `values * scale - shift`.

    Args:
        train: training items, see `in_memory`.
        form: "standard" or "unit", see `Recipe.inputs`.

    Raises:
        ValueError: a feature is not finite.
    """
    if train.dtype == np.uint8:
        (mean, std), highest = channel_statistics(train), 255.0
    else:
        if not np.isfinite(train).all():
            row, column = np.argwhere(~np.isfinite(train))[0]
            raise ValueError(f"feature {column} of item {row} is {train[row, column]}; features must be finite")
        mean, std, highest = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64), 1.0
    if form == "unit":
        return np.full(len(mean), 1 / highest), np.zeros(len(mean))
    # Zero features that are constant in training, so that they cannot dominate at test time.
    varies = std > 1e-6 * np.maximum(1.0, np.abs(mean))
    std = np.where(varies, std, np.inf)
    return 1 / (highest * std), mean / std


def _on_device(array: NDArray, device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        # Arrays from Ray's object store are read-only.  Nothing writes to these tensors, so no copy is needed.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        values = torch.from_numpy(array).to(device)
    return values.float() if values.dtype == torch.float64 else values
