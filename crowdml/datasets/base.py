"""ImageData: a labelled image data set in memory.  Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images as uint8 and their true classes; `train_images` and `test_images` are None for label-only data.

    Args:
        name: the data set's name in a grid.
        train_images: (n_items, channels, height, width) uint8.
        train_labels: (n_items,) int64 true classes.
        test_images: (n_test, channels, height, width) uint8.
        test_labels: (n_test,) int64.
        class_names: one a class, in index order.
    """

    name: str
    train_images: NDArray[np.uint8] | None
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8] | None
    test_labels: NDArray[np.int64]
    class_names: tuple[str, ...]

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def take_train(self, n_train: int | None, seed: int) -> ImageData:
        """The first `n_train` items of a seeded, class-stratified order of the training items; None takes all.

        Subsets nest: the items of a smaller one are among those of a larger one.

        Raises:
            ValueError: fewer than one or more than there are.
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
    """(n_items,) a random order whose every beginning holds the classes in nearly their overall shares."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    counts = np.bincount(labels)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    rank_in_class = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    position = (rank_in_class + 0.5) / np.repeat(counts, counts)
    return by_class[np.argsort(position, kind="stable")]
