"""Data sets in memory: ImageData, TrainTest, subsets, fingerprints and channel statistics, without torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class TrainTest:
    """Training items and test items of a network.

    Args:
        train: uint8 images (n_items, channels, height, width), or float features (n_items, n_features).
        test: the test items in the same form, or None.
        test_labels: (n_test,) int64 true classes of the test items, or None.

    Raises:
        ValueError: a type or shape is wrong, or the numbers of test items and test labels differ.
    """

    train: NDArray[np.uint8] | NDArray[np.floating]
    test: NDArray[np.uint8] | NDArray[np.floating] | None = None
    test_labels: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            values = getattr(self, part)
            if values is None:
                continue
            is_images = values.dtype == np.uint8 and values.ndim == 4
            if not is_images and not (np.issubdtype(values.dtype, np.floating) and values.ndim == 2):
                raise ValueError(
                    f"{part} must be uint8 images (n_items, channels, height, width) or float features "
                    f"(n_items, n_features), got {values.dtype} {values.shape}"
                )
            if values.shape[1:] != self.in_shape:
                raise ValueError(f"training items have the shape {self.in_shape}, but test items {values.shape[1:]}")
        if (self.test is None) != (self.test_labels is None):
            raise ValueError("give test items and test labels together, or neither")
        if self.test is not None and self.test_labels is not None and len(self.test) != len(self.test_labels):
            raise ValueError(f"there are {len(self.test)} test items and {len(self.test_labels)} test labels")

    @property
    def in_shape(self) -> tuple[int, ...]:
        """The shape of one item: (channels, height, width) or (n_features,)."""
        return self.train.shape[1:]

    @property
    def arrays(self) -> tuple[NDArray[np.generic] | None, ...]:
        """All arrays of the data."""
        return (self.train, self.test, self.test_labels)


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images and their true classes; `train_images` and `test_images` are None for data sets of labels only.

    Args:
        name: the name of the data set in a grid.
        train_images: (n_items, channels, height, width) uint8.
        train_labels: (n_items,) int64 true classes.
        test_images: (n_test, channels, height, width) uint8.
        test_labels: (n_test,) int64.
        class_names: one name per class, in index order.

    Raises:
        ValueError: a type or shape is wrong, the numbers of images and labels differ, or a label is out of range.
    """

    name: str
    train_images: NDArray[np.uint8] | None
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8] | None
    test_labels: NDArray[np.int64]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_part("train", self.train_images, self.train_labels, self.n_classes)
        _check_part("test", self.test_images, self.test_labels, self.n_classes)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def arrays(self) -> tuple[NDArray[np.generic] | None, ...]:
        """All arrays of the data, for `fingerprint`."""
        return (self.train_images, self.train_labels, self.test_images, self.test_labels)

    @property
    def for_networks(self) -> TrainTest | None:
        """The images, or None if the data set has labels only."""
        if self.train_images is None or self.test_images is None:
            return None
        return TrainTest(self.train_images, self.test_images, self.test_labels)

    @property
    def nbytes(self) -> int:
        """Size of all arrays in bytes."""
        return sum(array.nbytes for array in self.arrays if array is not None)

    def take_train(self, n_train: int | None, seed: int) -> ImageData:
        """Return the first `n_train` training items of a random, class-stratified order; None returns all items.

        With the same seed, a larger subset contains every smaller subset.

        Raises:
            ValueError: `n_train` is less than 1 or more than the number of training items.
        """
        n_items = len(self.train_labels)
        if n_train is None or n_train == n_items:
            return self
        if not 1 <= n_train <= n_items:
            raise ValueError(f"n_train must be in [1, {n_items}] for {self.name}, got {n_train}")
        chosen = np.sort(stratified_order(self.train_labels, seed)[:n_train])
        images = None if self.train_images is None else self.train_images[chosen]
        return replace(self, train_images=images, train_labels=self.train_labels[chosen])


def stratified_order(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return (n_items,) a random order in which every prefix has nearly the class shares of all labels."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    counts = np.bincount(labels)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    rank_in_class = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    position = (rank_in_class + 0.5) / np.repeat(counts, counts)
    return by_class[np.argsort(position, kind="stable")]


class Fingerprinted(Protocol):
    """Data that `fingerprint` accepts: ImageData or CrowdData."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in index order."""
        ...

    @property
    def arrays(self) -> tuple[NDArray[np.generic] | None, ...]:
        """All arrays of the data."""
        ...


def fingerprint(data: Fingerprinted) -> str:
    """Return a hash of the arrays and the class names (not the name), as 16 hexadecimal digits."""
    digest = hashlib.sha256("\n".join(data.class_names).encode())
    for array in data.arrays:
        digest.update(b"none" if array is None else f"{array.dtype} {array.shape}".encode())
        if array is not None:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def channel_statistics(images: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the (channels,) means and standard deviations of uint8 images (n_items, channels, height, width).

    The pixels are scaled to [0, 1].  The standard deviation of a constant channel is 0.

    Raises:
        ValueError: the images have another type or shape, or there are no images.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.size == 0:
        raise ValueError(
            f"images must be uint8 (n_items, channels, height, width), not empty; got {images.dtype} {images.shape}"
        )
    # Sums of integers are exact, and neither sum copies the images to a wider type.
    n_pixels = images.size // images.shape[1]
    total = images.sum(axis=(0, 2, 3), dtype=np.uint64).astype(np.float64)
    total_square = np.einsum("nchw,nchw->c", images, images, dtype=np.uint64).astype(np.float64)
    mean = total / n_pixels
    variance = np.maximum(total_square / n_pixels - mean**2, 0)
    return mean / 255, np.sqrt(variance) / 255


def _check_part(part: str, images: NDArray[np.uint8] | None, labels: NDArray[np.int64], n_classes: int) -> None:
    if images is not None and (images.dtype != np.uint8 or images.ndim != 4):
        found = f"{images.dtype} {images.shape}"
        raise ValueError(f"{part}_images must be uint8 (n_items, channels, height, width), got {found}")
    if images is not None and len(images) != len(labels):
        raise ValueError(f"{part}_images holds {len(images)} images, {part}_labels {len(labels)} labels")
    if len(labels) and (labels.min() < 0 or labels.max() >= n_classes):
        raise ValueError(f"{part}_labels must be in [0, {n_classes}), got {labels.min()} to {labels.max()}")
