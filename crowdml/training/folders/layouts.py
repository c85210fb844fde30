"""Find the images of a folder and their classes, in the layouts of published data sets, without an import of torch."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crowdml.support.names import check_name
from crowdml.training.folders.formats import SUFFIXES
from crowdml.training.items import some

Layout = Literal["auto", "flat", "imagenet", "clothing1m"]

_SHOWN_SUFFIXES = ".bmp, .gif, .jpg, .png, .tif, .webp"

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
        train_ids: the id of each training image: its path inside the folder, with "/" and without the ending, but with
            the ending if another image differs only in its ending.
        train_labels: (n_items,) int64 one noisy label per image; None if the layout has no labels.
        test_paths: the test images; empty if the layout has no test images.
        test_labels: (n_test,) int64 true classes of the test images, or None.
        class_names: the names of the classes, in order, or None.
        layout: "flat", "imagenet" or "clothing1m".
        left_out: (file or folder, reason) of everything in the folders of images that is not an image.  The reason is
            a plural, such as the kind of the file.
    """

    train_paths: tuple[Path, ...]
    train_ids: tuple[str, ...]
    train_labels: NDArray[np.int64] | None
    test_paths: tuple[Path, ...]
    test_labels: NDArray[np.int64] | None
    class_names: tuple[str, ...] | None
    layout: str
    left_out: tuple[tuple[str, str], ...] = ()


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
    train = root / "train"
    in_classes = (path for path, reason in _walk(train) if reason is None and path.parent != train)
    return "imagenet" if train.is_dir() and next(in_classes, None) else "flat"


def _read_flat(root: Path) -> FolderItems:
    paths, left_out = _sorted_out(root)
    if not paths:
        others = f"; other files there: {some([file for file, _ in left_out])}" if left_out else ""
        wanted = f"looked for {_SHOWN_SUFFIXES} and others in it and its folders"
        raise ValueError(f"{root} holds no images; {wanted}{others}")
    return FolderItems(tuple(paths), _ids(root, paths), None, (), None, None, "flat", tuple(left_out))


def _read_imagenet(root: Path) -> FolderItems:
    paths, labels, names, left_out = _classes(root / "train")
    if not paths:
        raise ValueError(f"{root} does not have the layout imagenet; looked for train/CLASS/ with images in it")
    test_paths, test_labels, test_names, test_left_out = _classes(root / "val")
    place = {name: number for number, name in enumerate(names)}
    unknown = [name for name in test_names if name not in place]
    if unknown:
        raise ValueError(f"{root / 'val'} has {len(unknown)} classes that train/ lacks, the first is {unknown[0]}")
    truth = np.array([place[test_names[label]] for label in test_labels], np.int64) if test_paths else None
    return FolderItems(
        tuple(paths), _ids(root, paths), np.array(labels, np.int64), tuple(test_paths), truth, tuple(names), "imagenet",
        (*left_out, *test_left_out),
    )  # fmt: skip


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
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text in UTF-8: {error}") from error
    return [line for line in map(str.strip, text.splitlines()) if line]


def _classes(parent: Path) -> tuple[list[Path], list[int], list[str], list[tuple[str, str]]]:
    """Return the images in the folders of classes, sorted by class, and what is left out.

    Returns:
        The images, the number of each image's class, the names of the classes that have an image, and (file or folder,
        reason) of what is left out, where folders without an image come first.
    """
    if not parent.is_dir():
        return [], [], [], []
    images, left_out = _sorted_out(parent)
    inside = [(path, path.relative_to(parent).parts) for path in images]
    names = sorted({parts[0] for _, parts in inside if len(parts) > 1})
    place = {name: number for number, name in enumerate(names)}
    paths = [path for path, parts in inside if len(parts) > 1]
    labels = [place[parts[0]] for _, parts in inside if len(parts) > 1]
    known = {str(parent / name) for name in names} | {file for file, _ in left_out}
    empty = sorted(_shown(path) for path in parent.iterdir() if path.is_dir() and _shown(path) not in known)
    alone = [_shown(path) for path, parts in inside if len(parts) == 1]
    reasons = {"class folders without an image": empty, "images in no class folder": alone}
    named = [(file, reason) for reason, files in reasons.items() for file in files]
    return paths, labels, names, [*named, *left_out]


def _sorted_out(folder: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """Return the images in a folder and its subfolders, and what is left out with the reasons."""
    found = list(_walk(folder))
    images = [path for path, reason in found if reason is None]
    return images, [(_shown(path), reason) for path, reason in found if reason is not None]


def _shown(path: Path) -> str:
    """Return a path as text that can be printed, also if a name is not UTF-8."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _walk(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Yield (path, None) of each image in a folder and its subfolders, and (path, reason) of what is left out.

    The order does not depend on the file system.  A link to a folder is followed unless it leads to a folder that is
    read anyway, so that links in a circle end.
    """
    read = [Path(os.path.realpath(folder))]
    todo = [folder]
    while todo:
        place = todo.pop()
        try:
            with os.scandir(place) as entries:
                ordered = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            yield place, "folders that cannot be read"
            continue
        inside = []
        for entry in ordered:
            path = Path(place, entry.name)
            if entry.name.startswith("."):
                yield path, "hidden files and folders"
            elif not _is_utf8(entry.name):
                yield path, "files and folders whose name is not UTF-8"
            elif _is_kind(entry, folder=True):
                target = Path(os.path.realpath(path)) if entry.is_symlink() else None
                if target is None:
                    inside.append(path)
                elif any(target.is_relative_to(other) or other.is_relative_to(target) for other in read):
                    yield path, "links to folders that are read anyway or lead in a circle"
                else:
                    read.append(target)
                    inside.append(path)
            elif os.path.splitext(entry.name)[1].lower() not in SUFFIXES:
                yield path, "files without the ending of an image"
            elif not _is_kind(entry, folder=False):
                yield path, "pipes, devices and links to nothing"
            else:
                yield path, None
        todo += reversed(inside)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_kind(entry: os.DirEntry[str], *, folder: bool) -> bool:
    """Return whether an entry, or what it links to, is a folder or a file; a link to itself is neither."""
    try:
        return entry.is_dir() if folder else entry.is_file()
    except OSError:
        return False


def _ids(root: Path, paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the path of each image in the folder, without the ending if no other image has this name."""
    whole = [path.relative_to(root) for path in paths]
    stems = [path.with_suffix("").as_posix() for path in whole]
    names = [path.as_posix() for path in whole]
    shared = {stem for stem, count in Counter(stems).items() if count > 1} | (set(stems) & set(names))
    return tuple(name if stem in shared else stem for name, stem in zip(names, stems, strict=True))
