"""Read a user's data: a file of features, or a folder of images that may also hold labels and test items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crowdml.files import FileError
from crowdml.labels import CrowdLabels
from crowdml.support.processors import usable_processors
from crowdml.training.feature_tables import read_table
from crowdml.training.folders.decoding import Check, TrainCrop, unreadable_images
from crowdml.training.folders.in_memory import read_images
from crowdml.training.folders.layouts import Layout, read_layout
from crowdml.training.items import Items, digest, file_state

STREAMED_SIDE = 224
"""The default side of streamed images, which networks for ImageNet take."""


@dataclass(frozen=True, eq=False)
class Data:
    """The data at a path.

    Args:
        items: the items.
        crowd: the labels that the layout of the folder gives, one per item, as a crowd of one worker; or None.  Its
            item_ids are the ids of the items.
        test: the test items that the layout of the folder gives, or None.
        test_labels: the true classes of the test items, indexed by id, or None.
    """

    items: Items
    crowd: CrowdLabels | None = None
    test: Items | None = None
    test_labels: pd.Series | None = None


@dataclass(frozen=True)
class ImageOptions:
    """How images are read.

    Args:
        side: side to which images are resized, see `read_images`; the default for streamed images is STREAMED_SIDE.
        channels: 1 or 3, see `read_images`.
        stream: read images from their files during training.
        layout: the layout of a folder, see `read_layout`.
        train_crop: how the augmentation crops streamed images.
        check: how streamed images are checked before the training.
        threads: number of threads that check and decode streamed images.

    Raises:
        ValueError: a value is out of range, or an option is for streamed images only.
    """

    side: int | None = None
    channels: int | None = None
    stream: bool = False
    layout: Layout = "auto"
    train_crop: TrainCrop = "shift"
    check: Check = "decode"
    threads: int = field(default_factory=usable_processors)

    def __post_init__(self) -> None:
        if self.side is not None and self.side < 1:
            raise ValueError(f"side must be at least 1, got {self.side}")
        if self.channels not in (None, 1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3 (RGB), got {self.channels}")
        if self.stream and self.side is None:
            object.__setattr__(self, "side", STREAMED_SIDE)
        if self.train_crop != "shift" and not self.stream:
            raise ValueError(f'train_crop "{self.train_crop}" is for streamed images; add --stream')


def read_data(
    path: str | Path,
    *,
    task_column: str = "task",
    images: ImageOptions | None = None,
    checked: Mapping[str, Mapping[Path, str]] | None = None,
) -> Data:
    """Read the data at a path.

    Args:
        path: .npy (rows are the tasks 0, 1, 2, ...), a table of features (.csv, .jsonl, .json, .parquet; text may be
            packed as .gz), or a folder of images.
        task_column: the column of a table that holds the tasks.
        images: how the images of a folder are read.
        checked: results of earlier checks of streamed images, which are not repeated: `Items.checked` -> (file ->
            reason) of the files that cannot be read.

    Raises:
        FileError: a file is missing or holds no items; the message says what is wrong and where.
        ValueError: a folder holds no images that can be used.
    """
    place = Path(path)
    if place.is_dir():
        return _read_folder(place, images or ImageOptions(), checked or {})
    if not place.is_file():
        raise FileError(f"{place}: no such file or folder")
    if place.suffix.lower() == ".npy":
        return Data(_read_array(place))
    return Data(read_table(place, task_column))


def one_label_each(labels: NDArray[np.integer], ids: NDArray[Any], class_names: NDArray[Any]) -> CrowdLabels:
    """Return (n_items,) labels of one source as a crowd of one worker."""
    n_items = len(labels)
    return CrowdLabels(
        item=np.arange(n_items), worker=np.zeros(n_items, np.int64), label=labels,
        n_items=n_items, n_workers=1, n_classes=len(class_names),
        item_ids=ids, worker_ids=np.array(["labels"]), class_names=class_names, repeats="keep",
    )  # fmt: skip


def _read_array(path: Path) -> Items:
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise FileError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    if not values.ndim:
        raise FileError(f"{path}: holds a single number; items need one row each")
    return Items(str(path), np.arange(len(values)), values)


def _read_folder(folder: Path, images: ImageOptions, checked: Mapping[str, Mapping[Path, str]]) -> Data:
    found = read_layout(folder, images.layout)
    items = _read_images(str(folder), found.train_paths, found.train_ids, images, checked)
    items = replace(items, left_out=found.left_out)
    if found.train_labels is None or found.class_names is None:
        return Data(items)
    names = np.asarray(found.class_names)
    # Leave out the labels of images that cannot be read.
    label_of = pd.Series(found.train_labels, index=pd.Index(found.train_ids))
    crowd = one_label_each(label_of[items.ids].to_numpy(), items.ids, names)
    if found.test_labels is None:
        return Data(items, crowd)
    test_ids = [path.relative_to(folder).as_posix() for path in found.test_paths]
    channels = None if items.values is None else items.values.shape[1]
    like = replace(images, channels=channels)
    test = _read_images(f"{folder} (test)", found.test_paths, test_ids, like, checked)
    return Data(items, crowd, test, pd.Series(names[found.test_labels], index=pd.Index(test_ids)))


def _read_images(
    source: str,
    paths: Sequence[Path],
    ids: Sequence[str],
    images: ImageOptions,
    checked: Mapping[str, Mapping[Path, str]],
) -> Items:
    if not images.stream:
        return read_images(source, paths, ids, side=images.side, channels=images.channels)
    key = digest(images.check, *map(_state, paths))
    faults = checked.get(key)
    if faults is None:
        faults = unreadable_images(paths, images.threads, check=images.check)
    return Items(source, np.asarray(ids), paths=tuple(paths), checked=key).without(faults)


def _state(path: Path) -> str:
    try:
        return file_state(path)
    except OSError:
        return f"{path} missing"
