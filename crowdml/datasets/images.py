"""Image data sets by name: scikit-learn's digits, data sets of torchvision, and the labels of CIFAR without images.

Only `load_images` reads files, so that a grid can be planned on any machine.  Importing this module does not import
torch, torchvision or scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crowdml.datasets.cifar100_classes import CIFAR100_FINE
from crowdml.datasets.data import ImageData, stratified_order
from crowdml.datasets.download import Part, TorchvisionFiles, read_torchvision
from crowdml.support.names import check_name


@dataclass(frozen=True)
class _Source:
    """Facts about a data set before it is loaded; `shape` is None if the data set has labels only."""

    class_names: tuple[str, ...]
    n_train: int
    n_test: int
    shape: tuple[int, int, int] | None
    files: TorchvisionFiles | None = None


_TEN_DIGITS = tuple("0123456789")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_MNIST_FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
_CIFAR100_FILES = ("train", "test", "meta")
_CIFAR10_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")

_SOURCES: dict[str, _Source] = {
    # E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998), the part in scikit-learn.
    "digits": _Source(_TEN_DIGITS, 1_297, 500, (1, 8, 8)),
    # Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Proceedings of the IEEE 86 (1998).
    "mnist": _Source(_TEN_DIGITS, 60_000, 10_000, (1, 28, 28), TorchvisionFiles("MNIST", "MNIST/raw", _MNIST_FILES)),
    # H. Xiao, K. Rasul, R. Vollgraf, arXiv 1708.07747.
    "fashion_mnist": _Source(
        _FASHION, 60_000, 10_000, (1, 28, 28), TorchvisionFiles("FashionMNIST", "FashionMNIST/raw", _MNIST_FILES)
    ),
    # A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009).
    "cifar10": _Source(
        _CIFAR10, 50_000, 10_000, (3, 32, 32), TorchvisionFiles("CIFAR10", "cifar-10-batches-py", _CIFAR10_FILES)
    ),
    "cifar100": _Source(
        CIFAR100_FINE, 50_000, 10_000, (3, 32, 32), TorchvisionFiles("CIFAR100", "cifar-100-python", _CIFAR100_FILES)
    ),
    "cifar10_labels": _Source(_CIFAR10, 50_000, 0, None),
    "cifar100_labels": _Source(CIFAR100_FINE, 50_000, 0, None),
}


def names() -> tuple[str, ...]:
    """Return the names that `load_images` accepts."""
    return tuple(_SOURCES)


def class_names(name: str) -> tuple[str, ...]:
    """Return the names of the classes in index order."""
    return _source(name).class_names


def n_classes(name: str) -> int:
    """Return the number of classes."""
    return len(_source(name).class_names)


def n_train_items(name: str) -> int:
    """Return the number of training items."""
    return _source(name).n_train


def files(name: str) -> TorchvisionFiles | None:
    """Return the files of a data set; None if it needs no files."""
    return _source(name).files


def has_images(name: str) -> bool:
    """Return whether the data set has images, so that a network can be trained on it."""
    return _source(name).shape is not None


def image_shape(name: str) -> tuple[int, int, int]:
    """Return (channels, height, width) of an image.

    Raises:
        ValueError: the name is unknown, or the data set has labels only.
    """
    shape = _source(name).shape
    if shape is None:
        raise ValueError(f"{name} has labels only, no images; use {name.removesuffix('_labels')} to train a network")
    return shape


def load_images(name: str, root: str | Path | None = None, *, download: bool = True) -> ImageData:
    """Load a data set into memory.

    Args:
        name: one of `names()`.  "digits" comes with scikit-learn.  "cifar10_labels" and "cifar100_labels" have no
            images, but as many labels per class as the CIFAR training sets, in the order 0, 1, 2, ...; such labels
            suffice to aggregate simulated annotations.  torchvision reads the other data sets.
        root: the root folder of the data sets; by default the variable CROWDML_DATA_ROOT, or ~/.cache/crowdml.
        download: download missing files.

    Raises:
        UnknownNameError: no data set has this name (a ValueError).
        DatasetMissingError: files are missing and cannot be downloaded, or are damaged; the message says what to do.
    """
    source = _source(name)
    if source.files is not None:
        train, test = read_torchvision(source.files, root, download=download)
    elif source.shape is not None:
        train, test = _read_digits(source.n_test)
    else:
        train, test = (None, np.arange(source.n_train) % len(source.class_names)), (None, np.empty(0, np.int64))
    return ImageData(name, *train, *test, source.class_names)


def _source(name: str) -> _Source:
    return _SOURCES[check_name("data set", name, _SOURCES)]


def _read_digits(n_test: int) -> tuple[Part, Part]:
    """Read scikit-learn's digits, with grey levels scaled from 0..16 to 0..255.  The test items are stratified."""
    from sklearn.datasets import load_digits

    grey, labels = load_digits(return_X_y=True)
    images = np.rint(np.asarray(grey) * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = np.asarray(labels, dtype=np.int64)
    order = stratified_order(labels, seed=0)  # a fixed seed, because another split would be another data set
    test, train = np.sort(order[:n_test]), np.sort(order[n_test:])
    return (images[train], labels[train]), (images[test], labels[test])
