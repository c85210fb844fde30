"""Find the images of a folder and their classes, in the layouts of published data sets, without an import of torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crowdml.support.names import check_name

Layout = Literal["auto", "flat", "imagenet", "clothing1m"]

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

# The classes 0 to 13 of Clothing1M (Xiao, Xia, Yang, Huang, Wang, CVPR 2015), as in its category_names_eng.txt.
CLOTHING1M_CLASSES = (
    "T-Shirt", "Shirt", "Knitwear", "Chiffon", "Sweater", "Hoodie", "Windbreaker", "Jacket", "Down Coat", "Suit",
    "Shawl", "Dress", "Vest", "Underwear",
)  # fmt: skip
_CLOTHING1M_FILES = (
    "noisy_train_key_list.txt", "noisy_label_kv.txt", "clean_test_key_list.txt", "clean_label_kv.txt",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class FolderItems:
    """The images of a folder.

    Args:
        train_paths: the training images.
        train_ids: the id of each training image: its path inside the folder, with "/" and without the suffix.
        train_labels: (n_items,) int64 one noisy label per image; None if the layout has no labels.
        test_paths: the test images; empty if the layout has no test images.
        test_labels: (n_test,) int64 true classes of the test images, or None.
        class_names: the names of the classes, in order, or None.
        layout: "flat", "imagenet" or "clothing1m".
    """

    train_paths: tuple[Path, ...]
    train_ids: tuple[str, ...]
    train_labels: NDArray[np.int64] | None
    test_paths: tuple[Path, ...]
    test_labels: NDArray[np.int64] | None
    class_names: tuple[str, ...] | None
    layout: str


def read_layout(folder: str | Path, layout: Layout = "auto") -> FolderItems:
    """Return the images in a folder and its subfolders, and their labels; open no image.

    Layout "flat" means any images, without labels.  "imagenet" means train/CLASS/image and val/CLASS/image.
    "clothing1m" is the release of that data set: noisy training labels and clean test labels, with the lists beside
    images/ or, as in some copies, in annotations/.  "auto" recognises the layout.

    Raises:
        NotADirectoryError: there is no such folder.
        ValueError: the folder does not have the layout, or its lists contradict each other; the message says which
            files the layout needs.
    """
    root = Path(folder)
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is not a folder")
    check_name("layout", layout, ["auto", *_READERS])
    return _READERS[_recognise(root) if layout == "auto" else layout](root)


def _recognise(root: Path) -> str:
    if any((root / place / name).is_file() for place in ("", "annotations") for name in _CLOTHING1M_FILES):
        return "clothing1m"
    return "imagenet" if any(_class_folders(root / "train")) else "flat"


def _read_flat(root: Path) -> FolderItems:
    paths = tuple(_images_below(root))
    if not paths:
        raise ValueError(f"{root} holds no images; looked for {', '.join(sorted(SUFFIXES))} in it and its folders")
    return FolderItems(paths, _ids(root, paths), None, (), None, None, "flat")


def _read_imagenet(root: Path) -> FolderItems:
    folders = list(_class_folders(root / "train"))
    if not folders:
        raise ValueError(f"{root} does not have the layout imagenet; looked for train/CLASS/ with images in it")
    names = tuple(folder.name for folder in folders)
    place = {name: number for number, name in enumerate(names)}
    unknown = [folder.name for folder in _class_folders(root / "val") if folder.name not in place]
    if unknown:
        raise ValueError(f"{root / 'val'} has {len(unknown)} classes that train/ lacks, the first is {unknown[0]}")
    train_paths, train_labels = _labelled(root / "train", place)
    test_paths, test_labels = _labelled(root / "val", place)
    test_labels = test_labels if test_paths else None
    return FolderItems(train_paths, _ids(root, train_paths), train_labels, test_paths, test_labels, names, "imagenet")


def _read_clothing1m(root: Path) -> FolderItems:
    lists = root / "annotations" if (root / "annotations" / _CLOTHING1M_FILES[0]).is_file() else root
    missing = [name for name in _CLOTHING1M_FILES if not (lists / name).is_file()]
    if missing:
        raise ValueError(f"{root} does not have the layout clothing1m; looked for {', '.join(missing)} in {lists}")
    names = _clothing1m_classes(lists / "category_names_eng.txt")
    train_keys, test_keys = _lines(lists / _CLOTHING1M_FILES[0]), _lines(lists / _CLOTHING1M_FILES[2])
    train_paths = tuple(root / key for key in train_keys)
    return FolderItems(
        train_paths, _ids(root, train_paths), _labels_of(train_keys, lists / _CLOTHING1M_FILES[1], len(names)),
        tuple(root / key for key in test_keys), _labels_of(test_keys, lists / _CLOTHING1M_FILES[3], len(names)),
        names, "clothing1m",
    )  # fmt: skip


_READERS = {"flat": _read_flat, "imagenet": _read_imagenet, "clothing1m": _read_clothing1m}


def _clothing1m_classes(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return CLOTHING1M_CLASSES
    names = tuple(_lines(path))
    if len(names) != len(CLOTHING1M_CLASSES):
        raise ValueError(f"{path} must have {len(CLOTHING1M_CLASSES)} lines, one per class, got {len(names)}")
    return names


def _labels_of(keys: list[str], path: Path, n_classes: int) -> NDArray[np.int64]:
    """Return (n_keys,) labels of the keys, from a file with lines "key label"."""
    label_of: dict[str, int] = {}
    for number, line in enumerate(_lines(path), 1):
        key, _, label = line.rpartition(" ")
        if not (key and label.isdecimal() and int(label) < n_classes):
            raise ValueError(f'{path}, line {number}: must be "key label" with a label below {n_classes}, got {line!r}')
        label_of[key.rstrip()] = int(label)
    without = [key for key in keys if key not in label_of]
    if without:
        raise ValueError(f"{path} has no label for {len(without)} of {len(keys)} images, the first is {without[0]}")
    return np.fromiter((label_of[key] for key in keys), np.int64, len(keys))


def _lines(path: Path) -> list[str]:
    return [line for line in map(str.strip, path.read_text(encoding="utf-8").splitlines()) if line]


def _class_folders(parent: Path) -> Iterator[Path]:
    """Yield the subfolders that hold an image, sorted by name."""
    if parent.is_dir():
        for folder in sorted(parent.iterdir()):
            if folder.is_dir() and not folder.name.startswith(".") and next(_images_below(folder), None):
                yield folder


def _labelled(parent: Path, place: Mapping[str, int]) -> tuple[tuple[Path, ...], NDArray[np.int64]]:
    """Return the images of all class folders, and (n,) the number of each image's class."""
    by_class = [(place[folder.name], list(_images_below(folder))) for folder in _class_folders(parent)]
    paths = tuple(path for _, images in by_class for path in images)
    counts = [len(images) for _, images in by_class]
    return paths, np.repeat(np.array([label for label, _ in by_class], np.int64), counts)


def _images_below(folder: Path) -> Iterator[Path]:
    """Yield all images in a folder and its subfolders, in an order that does not depend on the file system."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("."):
                yield Path(parent, name)


def _ids(root: Path, paths: Iterable[Path]) -> tuple[str, ...]:
    first: dict[str, Path] = {}
    for path in paths:
        name = path.relative_to(root).with_suffix("").as_posix()
        if name in first:
            raise ValueError(f"{first[name]} and {path} have the same id {name!r}; rename one of them")
        first[name] = path
    return tuple(first)
