"""Where a network's inputs come from: a tensor on the device, normalised and augmented as batches are taken."""

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
    """The inputs of some items: images or feature vectors."""

    @property
    def device(self) -> torch.device:
        """Where batches are put."""
        ...

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one item's input: (channels, height, width) or (n_features,)."""
        ...

    @property
    def predict_batch(self) -> int:
        """How many items may go through a network at a time where no gradients are kept."""
        ...

    def __len__(self) -> int:
        """Number of items."""
        ...

    def batches(
        self, indices: Iterable[Tensor], *, kind: str = "none", generator: torch.Generator | None = None, views: int = 1
    ) -> Iterator[tuple[Tensor, ...]]:
        """For each (n,) tensor of item indices its inputs (n, ...) as floats, `views` times.

        Args:
            indices: one tensor a batch.
            kind: of augmentation, see `augment`; each view is augmented anew.
            generator: of the augmentation, on the device.
            views: how many.
        """
        ...


class InMemory:
    """Inputs that lie in one tensor on the device.

    Args:
        values: (n_items, channels, height, width) or (n_items, n_features), uint8 or float.
        scale, shift: (channels,) or (n_features,); a batch is `values * scale - shift`.
    """

    def __init__(self, values: Tensor, scale: Tensor, shift: Tensor) -> None:
        self.values = values
        across = (-1, *([1] * (values.ndim - 2)))
        self._scale, self._shift = scale.reshape(across), shift.reshape(across)

    @property
    def device(self) -> torch.device:
        """Where the values are."""
        return self.values.device

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one item's input."""
        return tuple(self.values.shape[1:])

    @property
    def predict_batch(self) -> int:
        """2,048: small items, such as fit into memory all together."""
        return 2048

    def __len__(self) -> int:
        return len(self.values)

    def take(self, items: Tensor) -> Tensor:
        """(n, ...) the normalised inputs of (n,) items."""
        normal = self.values[items].float() * self._scale - self._shift
        on_gpu = self.device.type == "cuda" and normal.ndim == 4
        return normal.contiguous(memory_format=torch.channels_last) if on_gpu else normal

    def batches(
        self, indices: Iterable[Tensor], *, kind: str = "none", generator: torch.Generator | None = None, views: int = 1
    ) -> Iterator[tuple[Tensor, ...]]:
        """See Inputs."""
        for items in indices:
            normal = self.take(items)
            if kind == "none" or generator is None:
                yield (normal,) * views
            else:
                yield tuple(augment(normal, kind, generator) for _ in range(views))


def in_memory(
    train: NDArray, test: NDArray | None, form: InputForm, device: torch.device | str = "auto"
) -> tuple[InMemory, InMemory | None]:
    """Training and test inputs on the device, in the form of the recipe; statistics are those of the training items.

    Args:
        train: (n_items, channels, height, width) uint8 images, or (n_items, n_features) float features.
        test: the same of the test items, or None.
        form: see Recipe.
        device: where they are kept.

    Raises:
        ValueError: features that are to be whitened, or that are not finite.
    """
    device = torch.device(default_device() if device == "auto" else device)
    is_images = train.dtype == np.uint8
    if form == "whitened":
        if not is_images:
            raise ValueError('recipe.inputs "whitened" is for images; take "standard" for features')
        first, second = whiten(_on_device(train, device), None if test is None else _on_device(test, device))
        one, nothing = torch.ones(1, device=device), torch.zeros(1, device=device)
        return InMemory(first, one, nothing), None if second is None else InMemory(second, one, nothing)
    scale, shift = scaling(train, form)
    of_scaling = tuple(torch.as_tensor(part, dtype=torch.float32, device=device) for part in (scale, shift))
    made = [None if part is None else InMemory(_on_device(part, device), *of_scaling) for part in (train, test)]
    assert made[0] is not None
    return made[0], made[1]


def scaling(train: NDArray, form: InputForm) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the values are multiplied by, and what is then taken off."""
    if train.dtype == np.uint8:
        mean, std = channel_statistics(train)
        highest = 255.0
    else:
        if not np.isfinite(train).all():
            row, column = np.argwhere(~np.isfinite(train))[0]
            raise ValueError(f"feature {column} of item {row} is {train[row, column]}; features must be finite")
        mean, std = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
        highest = 1.0
    if form == "unit":
        return np.full(len(mean), 1 / highest), np.zeros(len(mean))
    # What never varies in training says nothing, and is not to drown the rest where it varies in a test item.
    varies = std > 1e-6 * np.maximum(1.0, np.abs(mean))
    std = np.where(varies, std, np.inf)
    return 1 / (highest * std), mean / std


def _on_device(array: NDArray, device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        # Ray's object store hands out read-only arrays; nothing writes to these tensors, so they need no copy.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        values = torch.from_numpy(array).to(device)
    return values.float() if values.dtype == torch.float64 else values
