"""Inputs that are image files, decoded while the network trains: memory does not grow with their number."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crowdml.training.folders.decoding import N_DRAWS, Crop, TrainCrop, read_centre, read_views

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the red, green and blue pixels of ImageNet, which torchvision's weights were trained with."""

# Images decoded ahead of the batch in use: enough to keep many threads busy, 77 MB at 224 pixels.
_AHEAD = 512
# Images a thread takes at a time; one at a time, handing them out would cost as much as a small image.
_AT_A_TIME = 4


class Streamed:
    """Inputs (see crowdml.learning.inputs.Inputs) that are read from image files batch by batch.

    Threads decode ahead of the training; Pillow leaves the interpreter to others while it works, so they run side by
    side, and there are no processes to start, feed or leave behind.  Pixels go to the device as bytes and are
    normalised there.

    Args:
        paths: of the images.
        side: images are (3, side, side).
        device: where batches are put.
        workers: threads that decode.
        train_crop: what the augmentations "crop" and "crop_flip" cut out, see TrainCrop.
        mean, std: of each channel in [0, 1]; a batch is (pixels - mean) / std.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        side: int,
        *,
        device: torch.device | str = "cpu",
        workers: int = 2,
        train_crop: TrainCrop = "shift",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        if side < 1:
            raise ValueError(f"side must be at least 1, got {side}")
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        if train_crop not in get_args(TrainCrop):
            raise ValueError(f'train_crop must be "shift" or "area", got {train_crop!r}')
        if min(std) <= 0:
            raise ValueError(f"std must be above 0 in each channel, got {tuple(std)}")
        self._paths, self._side, self._workers = paths, side, workers
        self._cut: dict[str, tuple[Crop, bool]] = {
            "flip": ("centre", True), "crop": (train_crop, False), "crop_flip": (train_crop, True),
        }  # fmt: skip
        self._device = torch.device(device)
        deviation = torch.tensor(tuple(std), device=self._device)
        self._scale = (1 / (255 * deviation)).reshape(3, 1, 1)
        self._shift = (torch.tensor(tuple(mean), device=self._device) / deviation).reshape(3, 1, 1)

    @property
    def device(self) -> torch.device:
        """Where batches are put."""
        return self._device

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one item's input: (channels, height, width)."""
        return (3, self._side, self._side)

    @property
    def predict_batch(self) -> int:
        """As many pixels as 2,048 images of 32x32: the activations of large images are large."""
        return max(32, 2048 * 32 * 32 // self._side**2)

    def __len__(self) -> int:
        return len(self._paths)

    def batches(
        self, indices: Iterable[Tensor], *, kind: str = "none", generator: torch.Generator | None = None, views: int = 1
    ) -> Iterator[tuple[Tensor, ...]]:
        """See Inputs; the threads are gone when the last batch is taken or the iterator is closed.

        Raises:
            UnreadableImageError: a file cannot be decoded; names it.
        """
        places = list(indices)
        if not places:
            return
        # One transfer for all batches: one a batch would make the training wait for the device each time.
        items = np.split(torch.cat(places).cpu().numpy(), np.cumsum([len(place) for place in places])[:-1])
        draws = None if kind == "none" or generator is None else _numpy_generator(generator)
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="decode")
        waiting: deque[_Batch] = deque()
        n_waiting = 0
        try:
            for batch in items:
                waiting.append(self._start(pool, batch, kind, draws, views))
                n_waiting += len(batch)
                while n_waiting - waiting[0].n_items >= _AHEAD:
                    n_waiting -= waiting[0].n_items
                    yield self._finish(waiting.popleft(), views)
            while waiting:
                yield self._finish(waiting.popleft(), views)
        finally:
            pool.shutdown(cancel_futures=True)

    def _start(
        self,
        pool: ThreadPoolExecutor,
        items: NDArray[np.int64],
        kind: str,
        draws: np.random.Generator | None,
        views: int,
    ) -> _Batch:
        """Have a batch decoded; what is drawn for it does not depend on when that happens."""
        pinned = self._device.type == "cuda"
        n_views = 1 if draws is None else views
        pixels = torch.empty((n_views, len(items), self._side, self._side, 3), dtype=torch.uint8, pin_memory=pinned)
        into = pixels.numpy()
        parts = [slice(first, first + _AT_A_TIME) for first in range(0, len(items), _AT_A_TIME)]
        if draws is None:
            return _Batch(pixels, [pool.submit(self._centres, items[part], into[0, part]) for part in parts])
        numbers = draws.random((len(items), views, N_DRAWS), dtype=np.float32)
        futures = [pool.submit(self._views, items[part], into[:, part], numbers[part], kind) for part in parts]
        return _Batch(pixels, futures)

    def _centres(self, items: NDArray[np.int64], into: NDArray[np.uint8]) -> None:
        """Write some images into (n, side, side, 3)."""
        for place, item in enumerate(items):
            into[place] = read_centre(self._paths[item], self._side)

    def _views(
        self, items: NDArray[np.int64], into: NDArray[np.uint8], numbers: NDArray[np.float32], kind: str
    ) -> None:
        """Write the views of some images into (n_views, n, side, side, 3)."""
        crop, flip = self._cut[kind]
        for place, item in enumerate(items):
            for view, pixels in enumerate(read_views(self._paths[item], self._side, numbers[place], crop, flip=flip)):
                into[view, place] = pixels

    def _finish(self, batch: _Batch, views: int) -> tuple[Tensor, ...]:
        """Wait for a batch and normalise it on the device."""
        for future in batch.futures:
            future.result()
        pixels = batch.pixels.to(self._device, non_blocking=True).permute(0, 1, 4, 2, 3)
        # The bytes lie pixel by pixel, which is the order that convolutions want on a GPU (channels_last).
        order = torch.preserve_format if self._device.type == "cuda" else torch.contiguous_format
        floats = (view.to(torch.float32, memory_format=order) for view in pixels)
        normal = tuple(view.mul_(self._scale).sub_(self._shift) for view in floats)
        return normal if len(normal) == views else normal * views


@dataclass(frozen=True, eq=False)
class _Batch:
    """A batch that threads are writing: (n_views, n, side, side, 3) bytes, and what tells that they are there."""

    pixels: Tensor
    futures: list[Future[None]]

    @property
    def n_items(self) -> int:
        return self.pixels.shape[1]


def _numpy_generator(generator: torch.Generator) -> np.random.Generator:
    """A generator on the host that follows one on any device, at the cost of one draw."""
    return np.random.default_rng(int(torch.randint(2**62, (), generator=generator, device=generator.device)))
