"""Image data sets by name: known figures, and facts without loading."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crowdml import datasets
from crowdml.datasets import ImageData, channel_statistics, fingerprint
from crowdml.datasets.cifar100_classes import CIFAR100_COARSE, CIFAR100_FINE, COARSE_OF_FINE


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return datasets.load_images("digits")


# -------------------------------------------------------------------- embedded data


def test_digits_are_all_of_scikit_learns_each_once(digits: ImageData):
    from sklearn.datasets import load_digits

    assert digits.train_images is not None
    assert digits.test_images is not None
    assert digits.train_images.shape == (1297, 1, 8, 8)
    assert digits.test_images.shape == (500, 1, 8, 8)
    assert digits.train_images.dtype == np.uint8
    assert digits.train_images.flags.c_contiguous
    assert digits.train_labels.dtype == digits.test_labels.dtype == np.int64
    grey, labels = load_digits(return_X_y=True)
    ours = np.concatenate([digits.train_images, digits.test_images]).reshape(-1, 64)
    our_labels = np.concatenate([digits.train_labels, digits.test_labels])
    back = np.column_stack([np.rint(ours / 255 * 16), our_labels])
    theirs = np.column_stack([grey, labels])
    assert np.array_equal(back[np.lexsort(back.T)], theirs[np.lexsort(theirs.T)])
    assert ours.max() == 255


def test_digits_split_is_stratified_and_fixed(digits: ImageData):
    train, test = np.bincount(digits.train_labels), np.bincount(digits.test_labels)
    assert np.abs(test - (train + test) * 500 / 1797).max() < 1
    assert fingerprint(digits) == "038bae78a284bfc6"


@pytest.mark.parametrize(("name", "n_classes"), [("cifar10_labels", 10), ("cifar100_labels", 100)])
def test_label_only_sets_are_balanced(name: str, n_classes: int):
    data = datasets.load_images(name)
    assert data.train_images is None
    assert data.test_images is None
    assert len(data.test_labels) == 0
    assert data.train_labels.dtype == np.int64
    assert np.bincount(data.train_labels).tolist() == [50_000 // n_classes] * n_classes
    assert data.class_names == datasets.class_names(name.removesuffix("_labels"))


def test_cifar100_classes():
    assert len(CIFAR100_FINE) == 100
    assert list(CIFAR100_FINE) == sorted(set(CIFAR100_FINE))
    assert list(CIFAR100_COARSE) == sorted(set(CIFAR100_COARSE))
    assert np.bincount(COARSE_OF_FINE).tolist() == [5] * 20
    # Krizhevsky's table: the super-class "fish", and two classes that are easily confused.
    fish = [
        fine for fine, coarse in zip(CIFAR100_FINE, COARSE_OF_FINE, strict=True) if CIFAR100_COARSE[coarse] == "fish"
    ]
    assert fish == ["aquarium_fish", "flatfish", "ray", "shark", "trout"]
    assert CIFAR100_COARSE[COARSE_OF_FINE[CIFAR100_FINE.index("streetcar")]] == "vehicles_2"
    assert CIFAR100_COARSE[COARSE_OF_FINE[CIFAR100_FINE.index("train")]] == "vehicles_1"


# -------------------------------------------------------------------- facts without loading


@pytest.mark.parametrize("name", ["digits", "cifar10_labels", "cifar100_labels"])
def test_facts_agree_with_the_data(name: str):
    data = datasets.load_images(name)
    assert datasets.n_classes(name) == data.n_classes == data.train_labels.max() + 1
    assert datasets.class_names(name) == data.class_names
    assert datasets.n_train_items(name) == len(data.train_labels)
    assert datasets.has_images(name) == (data.train_images is not None)
    if data.train_images is not None:
        assert datasets.image_shape(name) == data.train_images.shape[1:]


def test_label_only_set_has_no_image_shape():
    with pytest.raises(ValueError, match="cifar10_labels has labels only, no images; use cifar10 to train"):
        datasets.image_shape("cifar10_labels")


def test_unknown_name_gets_the_nearest():
    with pytest.raises(ValueError, match="unknown data set 'cifar_10'; did you mean cifar10"):
        datasets.load_images("cifar_10")
    with pytest.raises(ValueError, match="did you mean mnist"):
        datasets.n_classes("minst")


def test_importing_loads_no_heavy_package():
    script = (
        "import sys, crowdml.datasets as d; d.image_shape('cifar10'); d.load_images('cifar10_labels');"
        "print([m for m in ('torch', 'torchvision', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout.strip() == "[]"


# -------------------------------------------------------------------- real data


def test_cifar10_known_figures(data_root: Path):
    data = datasets.load_images("cifar10", data_root, download=False)
    assert data.train_images is not None
    assert data.test_images is not None
    assert data.train_images.shape == (50_000, 3, 32, 32)
    assert data.test_images.shape == (10_000, 3, 32, 32)
    assert data.train_images.flags.c_contiguous
    assert np.bincount(data.train_labels).tolist() == [5_000] * 10
    assert np.bincount(data.test_labels).tolist() == [1_000] * 10
    assert data.train_labels[:5].tolist() == [6, 9, 9, 4, 1]
    assert data.test_labels[:5].tolist() == [3, 8, 8, 0, 6]
    # Red, green, blue of three pixels of the frog: the corner, the pixel to its right, the pixel below.
    corner = [data.train_images[0, :, row, column].tolist() for row, column in ((0, 0), (0, 1), (1, 0))]
    assert corner == [[59, 62, 63], [43, 46, 45], [16, 20, 20]]
    mean, std = channel_statistics(data.train_images)
    assert mean.round(4).tolist() == [0.4914, 0.4822, 0.4465]
    assert std.round(4).tolist() == [0.2470, 0.2435, 0.2616]


@pytest.mark.parametrize(
    ("name", "first_labels", "mean", "std"),
    [("mnist", [5, 0, 4, 1, 9], 0.1307, 0.3081), ("fashion_mnist", [9, 0, 0, 3, 0], 0.2860, 0.3530)],
)
def test_mnist_known_figures(name: str, first_labels: list[int], mean: float, std: float, data_root: Path):
    data = datasets.load_images(name, data_root, download=False)
    assert data.train_images is not None
    assert data.test_images is not None
    assert data.train_images.shape == (60_000, 1, 28, 28)
    assert data.test_images.shape == (10_000, 1, 28, 28)
    assert data.train_labels[:5].tolist() == first_labels
    statistics = channel_statistics(data.train_images)
    assert [float(value[0]) for value in statistics] == pytest.approx([mean, std], abs=5e-5)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_class_names_are_torchvisions(name: str, data_root: Path):
    from crowdml.support.torchvision_import import import_torchvision

    class_name = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "cifar10": "CIFAR10"}[name]
    theirs = getattr(import_torchvision().datasets, class_name)(data_root, train=False).classes
    assert [label.partition(" - ")[0] for label in theirs] == list(datasets.class_names(name))
