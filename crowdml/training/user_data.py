"""A user's data by path: a file of features, a folder of images, or a folder that holds labels and test items too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crowdml.files import FileError
from crowdml.labels import CrowdLabels
from crowdml.training.feature_tables import read_table
from crowdml.training.folders import Layout, read_layout, unreadable_images
from crowdml.training.image_loading import read_images
from crowdml.training.items import Items


@dataclass(frozen=True, eq=False)
class Data:
    """What a path holds.

    Args:
        items: to train on or to predict for.
        crowd: the one label an item that a folder's layout gives, its item_ids the items' ids; else None.
        test: the test items of a folder's layout, else None.
        test_labels: their true classes by id, else None.
    """

    items: Items
    crowd: CrowdLabels | None = None
    test: Items | None = None
    test_labels: pd.Series | None = None


@dataclass(frozen=True)
class ImageOptions:
    """How images are read.

    Args:
        side: resize them; see `read_images`.
        channels: 1 or 3; see `read_images`.
        stream: leave them in their files until they are needed; needs `side`.
        layout: of a folder, see `read_layout`.
    """

    side: int | None = None
    channels: int | None = None
    stream: bool = False
    layout: Layout = "auto"

    def __post_init__(self) -> None:
        if self.side is not None and self.side < 1:
            raise ValueError(f"side must be at least 1, got {self.side}")
        if self.stream and self.side is None:
            raise ValueError("images that are streamed need --side PIXELS")


def read_data(path: str | Path, *, task_column: str = "task", images: ImageOptions | None = None) -> Data:
    """Everything at a path.

    Args:
        path: .npy (rows are the tasks 0, 1, 2, ...), .csv, .csv.gz or .parquet of features, or a folder of images.
        task_column: the column of a table that holds the tasks.
        images: how those of a folder are read.

    Raises:
        ValueError: there is nothing, or nothing of use; says what and where (FileError for a file).
        NotADirectoryError: no such folder.
    """
    place = Path(path)
    if place.is_dir():
        return _read_folder(place, images or ImageOptions())
    if not place.is_file():
        raise FileError(f"{place}: no such file or folder")
    if place.suffix.lower() == ".npy":
        return Data(_read_array(place))
    return Data(read_table(place, task_column))


def one_label_each(labels: NDArray[np.integer], ids: NDArray[Any], class_names: NDArray[Any]) -> CrowdLabels:
    """Labels (n_items,) of one source as the crowd of one worker."""
    n_items = len(labels)
    return CrowdLabels(
        item=np.arange(n_items),
        worker=np.zeros(n_items, np.int64),
        label=labels,
        n_items=n_items,
        n_workers=1,
        n_classes=len(class_names),
        item_ids=ids,
        worker_ids=np.array(["labels"]),
        class_names=class_names,
        repeats="keep",
    )


def _read_array(path: Path) -> Items:
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise FileError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    if not values.ndim:
        raise FileError(f"{path}: holds one number, not items")
    return Items(str(path), np.arange(len(values)), values)


def _read_folder(folder: Path, images: ImageOptions) -> Data:
    found = read_layout(folder, images.layout)
    items = _read_images(str(folder), found.train_paths, found.train_ids, images)
    if found.train_labels is None or found.class_names is None:
        return Data(items)
    names = np.asarray(found.class_names)
    # Unreadable images were left out, and their labels go with them.
    label_of = pd.Series(found.train_labels, index=pd.Index(found.train_ids))
    crowd = one_label_each(label_of[items.ids].to_numpy(), items.ids, names)
    if found.test_labels is None:
        return Data(items, crowd)
    test_ids = [path.relative_to(folder).as_posix() for path in found.test_paths]
    channels = None if items.values is None else items.values.shape[1]
    like = ImageOptions(images.side, channels, images.stream)
    test = _read_images(f"{folder} (test)", found.test_paths, test_ids, like)
    return Data(items, crowd, test, pd.Series(names[found.test_labels], index=pd.Index(test_ids)))


def _read_images(source: str, paths: Sequence[Path], ids: Sequence[str], images: ImageOptions) -> Items:
    if not images.stream:
        return read_images(source, paths, ids, side=images.side, channels=images.channels)
    faults = dict(unreadable_images(paths))
    readable = [path not in faults for path in paths]
    if not any(readable):
        path, fault = next(iter(faults.items()))
        raise ValueError(f"{source}: none of the {len(paths)} images can be read; {path}: {fault}")
    return Items(
        source,
        np.asarray(ids)[readable],
        paths=tuple(path for path in paths if path not in faults),
        skipped=tuple((str(path), fault) for path, fault in faults.items()),
    )
