"""The data sets: known figures on real data, hand-made files, and what is said when files are missing."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml import datasets
from crowdml.datasets import DatasetMissingError, ImageData, channel_statistics, fingerprint, stratified_order
from crowdml.datasets import download as download_module
from crowdml.datasets.cifar100_classes import CIFAR100_COARSE, CIFAR100_FINE, COARSE_OF_FINE

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return datasets.load_images("digits")


def tiny_data(**changes: object) -> ImageData:
    images = np.arange(4 * 3 * 2 * 2, dtype=np.uint8).reshape(4, 3, 2, 2)
    data = ImageData("tiny", images, np.array([0, 1, 0, 1]), images[:1], np.array([1]), ("a", "b"))
    return replace(data, **changes)  # pyright: ignore[reportArgumentType]  # any field


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
    # Krizhevsky's table: the super-class "fish", and one pair that is easily mixed up.
    fish = [
        fine for fine, coarse in zip(CIFAR100_FINE, COARSE_OF_FINE, strict=True) if CIFAR100_COARSE[coarse] == "fish"
    ]
    assert fish == ["aquarium_fish", "flatfish", "ray", "shark", "trout"]
    assert CIFAR100_COARSE[COARSE_OF_FINE[CIFAR100_FINE.index("streetcar")]] == "vehicles_2"
    assert CIFAR100_COARSE[COARSE_OF_FINE[CIFAR100_FINE.index("train")]] == "vehicles_1"


# -------------------------------------------------------------------- what is known without loading


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
    assert run_python(script, path=REPOSITORY).strip() == "[]"


# -------------------------------------------------------------------- torchvision's files


def write_idx(path: Path, values: np.ndarray) -> None:
    """The format of the MNIST files: magic number 0, 0, 8 (unsigned byte), dimensions; sizes big-endian; data."""
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(header + values.astype(np.uint8).tobytes())


def write_mnist(root: Path, class_name: str = "MNIST") -> np.ndarray:
    """Three training images and one test image; returns the training images (3, 28, 28)."""
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28))
    folder = root / class_name / "raw"
    folder.mkdir(parents=True)
    write_idx(folder / "train-images-idx3-ubyte", images)
    write_idx(folder / "train-labels-idx1-ubyte", np.array([7, 0, 9]))
    write_idx(folder / "t10k-images-idx3-ubyte", images[:1])
    write_idx(folder / "t10k-labels-idx1-ubyte", np.array([7]))
    return images


@pytest.mark.parametrize(("name", "class_name"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_reads_mnist_files(name: str, class_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    images = write_mnist(tmp_path, class_name)
    monkeypatch.setenv("CROWDML_DATA_ROOT", str(tmp_path))
    data = datasets.load_images(name, download=False)
    assert data.train_images is not None
    assert np.array_equal(data.train_images, images[:, None])
    assert data.train_images.dtype == np.uint8
    assert data.train_labels.tolist() == [7, 0, 9]
    assert data.test_labels.tolist() == [7]


def test_root_goes_before_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_mnist(tmp_path / "right")
    monkeypatch.setenv("CROWDML_DATA_ROOT", str(tmp_path / "wrong"))
    assert len(datasets.load_images("mnist", tmp_path / "right", download=False).train_labels) == 3


def test_default_root_is_the_users_cache(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CROWDML_DATA_ROOT", raising=False)
    assert download_module.data_root() == Path.home() / ".cache" / "crowdml"


def test_damaged_file_is_named_as_such(tmp_path: Path):
    write_mnist(tmp_path)
    damaged = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(DatasetMissingError, match=r"MNIST/raw are damaged .*delete .*MNIST/raw and load it again"):
        datasets.load_images("mnist", tmp_path, download=False)


def test_missing_files_say_what_belongs_where(tmp_path: Path):
    with pytest.raises(DatasetMissingError) as caught:
        datasets.load_images("cifar100", tmp_path, download=False)
    message = str(caught.value)
    assert f"CIFAR100 is not in {tmp_path / 'cifar-100-python'} and download is off" in message
    assert "Put train, test, meta into that folder" in message
    assert "set CROWDML_DATA_ROOT to the folder that holds cifar-100-python" in message
    assert isinstance(caught.value, OSError)


def test_only_the_absent_files_are_asked_for(tmp_path: Path):
    write_mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DatasetMissingError, match="Put t10k-labels-idx1-ubyte into"):
        datasets.load_images("mnist", tmp_path, download=False)


def test_failed_download_is_a_missing_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def no_network(root: str, **options: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(download_module, "_dataset_class", lambda source: no_network)
    with pytest.raises(DatasetMissingError, match=r"could not be downloaded .*no route to host.*Put train, test, meta"):
        datasets.load_images("cifar100", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_download_is_silent_whole_and_done_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    real = download_module._dataset_class
    downloads: list[str] = []

    def noisy(source: download_module.TorchvisionFiles) -> object:
        def dataset(root: str | Path, *, train: bool, download: bool = False) -> object:
            if not download:
                return real(source)(root, train=train)
            downloads.append(str(root))
            print("100%|#####| 170M/170M")
            print("100%|#####| 170M/170M", file=sys.stderr)
            write_mnist(Path(root))
            return None

        return dataset

    monkeypatch.setattr(download_module, "_dataset_class", noisy)
    root = tmp_path / "not" / "there" / "yet"
    for _ in range(2):
        assert datasets.load_images("mnist", root).train_labels.tolist() == [7, 0, 9]
    assert len(downloads) == 1
    assert "170M" not in "".join(capfd.readouterr())
    assert [path.name for path in root.iterdir()] == ["MNIST"]  # the folder of the download is gone


# -------------------------------------------------------------------- importing torchvision


def run_python(script: str, path: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{REPOSITORY}"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fake_torchvision(folder: Path, meta: str) -> Path:
    """A package torchvision that imports a first submodule, then one with the given text, as the real one does."""
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("import torchvision.first\nfrom . import meta, datasets\n")
    (package / "first.py").write_text("")
    (package / "meta.py").write_text(meta)
    (package / "datasets.py").write_text("")
    return folder


def test_torchvision_without_its_operators_is_imported(tmp_path: Path):
    meta = (
        "import torch\n"
        "for name in ('nms', 'qnms'):\n"
        "    torch.library.register_fake(f'torchvision::{name}')(lambda dets, scores, iou_threshold: dets)\n"
    )
    script = (
        "import gc, sys\n"
        "from crowdml.datasets.torchvision_import import import_torchvision\n"
        "module = import_torchvision(); gc.collect()\n"
        "import torch\n"
        "assert module.first is sys.modules['torchvision.first'] and module.datasets\n"
        "assert import_torchvision() is module\n"
        "print(torch.ops.torchvision.nms)\n"
    )
    assert "torchvision.nms" in run_python(script, fake_torchvision(tmp_path, meta))


def test_other_failures_of_torchvision_are_not_hidden(tmp_path: Path):
    script = (
        "from crowdml.datasets.torchvision_import import import_torchvision\n"
        "try: import_torchvision()\n"
        "except RuntimeError as error: print(error)\n"
    )
    output = run_python(script, fake_torchvision(tmp_path, "raise RuntimeError('something else')"))
    assert output.strip() == "something else"


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
    # Red, green, blue of the frog's first pixels: its corner, the one to the right of it, the one below it.
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
    from crowdml.datasets.torchvision_import import import_torchvision

    class_name = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "cifar10": "CIFAR10"}[name]
    theirs = getattr(import_torchvision().datasets, class_name)(data_root, train=False).classes
    assert [label.partition(" - ")[0] for label in theirs] == list(datasets.class_names(name))


# -------------------------------------------------------------------- ImageData


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": np.zeros((4, 3, 2, 2))}, "train_images must be uint8 .* got float64"),
        ({"test_images": np.zeros((1, 2, 2), np.uint8)}, r"test_images must be uint8 .* got uint8 \(1, 2, 2\)"),
        ({"train_labels": np.array([0, 1])}, "train_images holds 4 images, train_labels 2 labels"),
        ({"test_labels": np.array([2])}, r"test_labels must be in \[0, 2\), got 2 to 2"),
        ({"train_labels": np.array([0, 1, -1, 1])}, r"train_labels must be in \[0, 2\), got -1 to 1"),
    ],
)
def test_image_data_checks_itself(changes: dict[str, np.ndarray], message: str):
    with pytest.raises(ValueError, match=message):
        tiny_data(**changes)


def test_subsets_nest_and_keep_the_classes_shares(digits: ImageData):
    assert digits.train_images is not None
    taken = {n: digits.take_train(n, seed=3) for n in (100, 400)}
    rows = {n: {image.tobytes() for image in data.train_images} for n, data in taken.items()}  # pyright: ignore[reportOptionalIterable]
    assert len(rows[100]) == 100
    assert rows[100] < rows[400]
    assert np.bincount(taken[400].train_labels) == pytest.approx(np.bincount(digits.train_labels) * 400 / 1297, abs=1)
    label_of = {image.tobytes(): label for image, label in zip(digits.train_images, digits.train_labels, strict=True)}
    pairs = zip(taken[100].train_images, taken[100].train_labels, strict=True)  # pyright: ignore[reportArgumentType]
    assert all(label_of[image.tobytes()] == label for image, label in pairs)
    assert taken[100].test_images is digits.test_images


def test_subset_of_all_and_out_of_range(digits: ImageData):
    assert digits.take_train(None, seed=0) is digits
    assert digits.take_train(1297, seed=0) is digits
    for n_train in (0, 1298):
        with pytest.raises(ValueError, match=rf"n_train must be in \[1, 1297\] for digits, got {n_train}"):
            digits.take_train(n_train, seed=0)


def test_subsets_follow_the_seed(digits: ImageData):
    assert fingerprint(digits.take_train(50, seed=1)) == fingerprint(digits.take_train(50, seed=1))
    assert fingerprint(digits.take_train(50, seed=1)) != fingerprint(digits.take_train(50, seed=2))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 99))
def test_stratified_order_is_a_permutation_with_fair_beginnings(labels: list[int], seed: int):
    array = np.array(labels)
    order = stratified_order(array, seed)
    assert sorted(order.tolist()) == list(range(len(array)))
    share = np.bincount(array) / len(array)
    seen = np.cumsum(np.eye(len(share))[array[order]], axis=0)
    expected = np.arange(1, len(array) + 1)[:, None] * share
    # A class is within a half of its share of the quantile reached, and the quantile within half an item a class.
    assert (np.abs(seen - expected) <= 1 + 0.5 * len(share) * share + 1e-9).all()


# -------------------------------------------------------------------- fingerprint and statistics


def test_fingerprint_is_of_the_content():
    data = tiny_data()
    assert data.train_images is not None
    reference = fingerprint(data)
    assert len(reference) == 16
    assert int(reference, 16) >= 0
    strided = np.asfortranarray(data.train_images)
    assert fingerprint(replace(data, name="other", train_images=strided)) == reference
    one_pixel = data.train_images.copy()
    one_pixel[3, 2, 1, 1] ^= 1
    others = [
        replace(data, train_images=one_pixel),
        replace(data, train_images=data.train_images.reshape(4, 2, 3, 2)),
        replace(data, train_images=None),
        replace(data, train_labels=np.array([1, 0, 0, 1])),
        replace(data, test_labels=np.array([0])),
        replace(data, class_names=("a", "c")),
    ]
    assert len({reference, *map(fingerprint, others)}) == 7


def test_channel_statistics_by_hand():
    images = np.array([[[[0, 255]], [[51, 51]]], [[[0, 255]], [[51, 51]]]], np.uint8)  # (2, 2, 1, 2)
    mean, std = channel_statistics(images)
    assert mean.tolist() == [0.5, 0.2]
    assert std.tolist() == [0.5, 0.0]


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 999))
def test_channel_statistics_are_numpys(n_items: int, channels: int, side: int, seed: int):
    images = np.random.default_rng(seed).integers(0, 256, (n_items, channels, side, side), dtype=np.uint8)
    mean, std = channel_statistics(images)
    scaled = images / 255
    np.testing.assert_allclose(mean, scaled.mean(axis=(0, 2, 3)), atol=1e-12)
    np.testing.assert_allclose(std, scaled.std(axis=(0, 2, 3)), atol=1e-7)


@pytest.mark.parametrize(
    "images", [np.zeros((2, 3, 4, 4)), np.zeros((2, 4, 4), np.uint8), np.zeros((0, 3, 4, 4), np.uint8)]
)
def test_channel_statistics_refuse_other_arrays(images: np.ndarray):
    with pytest.raises(ValueError, match="images must be uint8"):
        channel_statistics(images)
