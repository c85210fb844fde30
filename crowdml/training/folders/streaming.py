"""Decode images from their files while the network trains, so that memory does not grow with the number of images."""

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

# Images decoded ahead of the current batch: enough to keep many threads busy; 77 MB at 224 x 224 pixels.
_AHEAD = 512
# Images that a thread takes at a time, because a task per image would cost as much as decoding a small image.
_AT_A_TIME = 4


class Streamed:
    """Inputs (see crowdml.learning.inputs.Inputs) that are read from image files, batch by batch.

    Threads decode ahead of the training.  They run in parallel, because Pillow releases the interpreter lock while it
    decodes.  Pixels are copied to the device as bytes and normalised there.

    Args:
        paths: the image files.
        side: the shape of an input is (3, side, side).
        device: device of the batches.
        threads: number of threads that decode.
        train_crop: the part that the augmentations "crop" and "crop_flip" cut out, see TrainCrop.
        scale, shift: (3,) per channel; an input is `pixels * scale - shift` with pixels in [0, 255].

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        side: int,
        *,
        scale: Sequence[float],
        shift: Sequence[float],
        device: torch.device | str = "cpu",
        threads: int = 2,
        train_crop: TrainCrop = "shift",
    ) -> None:
        if side < 1:
            raise ValueError(f"side must be at least 1, got {side}")
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        if train_crop not in get_args(TrainCrop):
            raise ValueError(f'train_crop must be "shift" or "area", got {train_crop!r}')
        self._paths, self._side, self._threads = paths, side, threads
        self._cut: dict[str, tuple[Crop, bool]] = {
            "flip": ("centre", True), "crop": (train_crop, False), "crop_flip": (train_crop, True),
        }  # fmt: skip
        self._device = torch.device(device)
        self._scale, self._shift = (
            torch.tensor(tuple(part), dtype=torch.float32, device=self._device).reshape(3, 1, 1)
            for part in (scale, shift)
        )

    @property
    def device(self) -> torch.device:
        """Device of the batches."""
        return self._device

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one input: (channels, height, width)."""
        return (3, self._side, self._side)

    @property
    def predict_batch(self) -> int:
        """Images per prediction batch: the pixels of 2,048 images of 32 x 32, because activations grow with pixels."""
        return max(32, 2048 * 32 * 32 // self._side**2)

    def __len__(self) -> int:
        return len(self._paths)

    def batches(
        self, indices: Iterable[Tensor], *, kind: str = "none", generator: torch.Generator | None = None, views: int = 1
    ) -> Iterator[tuple[Tensor, ...]]:
        """Yield batches, see Inputs.  The threads end after the last batch, or when the iterator is closed.

        Raises:
            UnreadableImageError: a file cannot be decoded; the message names it.
        """
        places = list(indices)
        if not places:
            return
        # Copy all indices at once, because a copy per batch would make the training wait for the device.
        items = np.split(torch.cat(places).cpu().numpy(), np.cumsum([len(place) for place in places])[:-1])
        rng = None if kind == "none" or generator is None else _numpy_generator(generator)
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="decode")
        waiting: deque[_Batch] = deque()
        n_waiting = 0
        try:
            for batch in items:
                waiting.append(self._start(pool, batch, kind, rng, views))
                n_waiting += len(batch)
                while n_waiting - waiting[0].n_items >= _AHEAD:
                    n_waiting -= waiting[0].n_items
                    yield self._finish(waiting.popleft(), views)
            while waiting:
                yield self._finish(waiting.popleft(), views)
        finally:
            pool.shutdown(cancel_futures=True)

    def _start(
        self, pool: ThreadPoolExecutor, items: NDArray[np.int64], kind: str, rng: np.random.Generator | None, views: int
    ) -> _Batch:
        """Start to decode a batch.  Draw its random numbers here, so that they do not depend on the threads."""
        pinned = self._device.type == "cuda"
        n_views = 1 if rng is None else views
        pixels = torch.empty((n_views, len(items), self._side, self._side, 3), dtype=torch.uint8, pin_memory=pinned)
        into = pixels.numpy()
        parts = [slice(first, first + _AT_A_TIME) for first in range(0, len(items), _AT_A_TIME)]
        if rng is None:
            return _Batch(pixels, [pool.submit(self._centres, items[part], into[0, part]) for part in parts])
        numbers = rng.random((len(items), views, N_DRAWS), dtype=np.float32)
        futures = [pool.submit(self._views, items[part], into[:, part], numbers[part], kind) for part in parts]
        return _Batch(pixels, futures)

    def _centres(self, items: NDArray[np.int64], into: NDArray[np.uint8]) -> None:
        for place, item in enumerate(items):
            into[place] = read_centre(self._paths[item], self._side)

    def _views(
        self, items: NDArray[np.int64], into: NDArray[np.uint8], numbers: NDArray[np.float32], kind: str
    ) -> None:
        crop, flip = self._cut[kind]
        for place, item in enumerate(items):
            for view, pixels in enumerate(read_views(self._paths[item], self._side, numbers[place], crop, flip=flip)):
                into[view, place] = pixels

    def _finish(self, batch: _Batch, views: int) -> tuple[Tensor, ...]:
        for future in batch.futures:
            future.result()
        pixels = batch.pixels.to(self._device, non_blocking=True).permute(0, 1, 4, 2, 3)
        # The bytes are in the order channels_last, which is the fastest order for convolutions on a GPU.
        order = torch.preserve_format if self._device.type == "cuda" else torch.contiguous_format
        floats = (view.to(torch.float32, memory_format=order) for view in pixels)
        normal = tuple(view.mul_(self._scale).sub_(self._shift) for view in floats)
        return normal if len(normal) == views else normal * views


@dataclass(frozen=True, eq=False)
class _Batch:
    """A batch that threads write: (n_views, n, side, side, 3) bytes, and the futures of the threads' work."""

    pixels: Tensor
    futures: list[Future[None]]

    @property
    def n_items(self) -> int:
        return self.pixels.shape[1]


def _numpy_generator(generator: torch.Generator) -> np.random.Generator:
    return np.random.default_rng(int(torch.randint(2**62, (), generator=generator, device=generator.device)))
