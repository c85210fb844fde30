"""Files of torchvision: reading hand-made files, downloads, and errors for missing files."""

from __future__ import annotations

import sys
import urllib.error
from pathlib import Path

import numpy as np
import pytest

from crowdml import datasets
from crowdml.datasets import DatasetMissingError
from crowdml.datasets import download as download_module


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write a file in MNIST's format: magic number 0, 0, 8 (unsigned byte), dimensions; big-endian sizes; data."""
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(header + values.astype(np.uint8).tobytes())


def write_mnist(root: Path, class_name: str = "MNIST") -> np.ndarray:
    """Write three training images and one test image; return the training images (3, 28, 28)."""
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


def test_the_argument_root_overrides_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_mnist(tmp_path / "right")
    monkeypatch.setenv("CROWDML_DATA_ROOT", str(tmp_path / "wrong"))
    assert len(datasets.load_images("mnist", tmp_path / "right", download=False).train_labels) == 3


def test_default_root_is_the_users_cache(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CROWDML_DATA_ROOT", raising=False)
    assert download_module.data_root() == Path.home() / ".cache" / "crowdml"


def test_an_error_names_damaged_files(tmp_path: Path):
    write_mnist(tmp_path)
    damaged = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(DatasetMissingError, match=r"MNIST/raw are damaged .*delete .*MNIST/raw and load again"):
        datasets.load_images("mnist", tmp_path, download=False)


def test_an_error_says_which_files_are_missing_in_which_folder(tmp_path: Path):
    with pytest.raises(DatasetMissingError) as caught:
        datasets.load_images("cifar100", tmp_path, download=False)
    message = str(caught.value)
    assert f"CIFAR100 is not in {tmp_path / 'cifar-100-python'} and download is off" in message
    assert "Put train, test, meta into that folder" in message
    assert "set CROWDML_DATA_ROOT to the folder that holds cifar-100-python" in message
    assert isinstance(caught.value, OSError)


def test_an_error_lists_only_the_missing_files(tmp_path: Path):
    write_mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DatasetMissingError, match="Put t10k-labels-idx1-ubyte into"):
        datasets.load_images("mnist", tmp_path, download=False)


def test_a_failed_download_raises_dataset_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
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
    assert [path.name for path in root.iterdir()] == ["MNIST"]  # the temporary folder is gone
