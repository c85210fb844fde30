"""Read the annotations of crowds of real workers (one reader per layout), and convert downloaded files."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crowdml.datasets.crowd_sources import CrowdSource
from crowdml.datasets.images import class_names
from crowdml.labels import CrowdLabels

Truth = NDArray[np.int64]
"""(n_items,) the true classes; -1 where the true class is not known."""

# As published at cs.toronto.edu/~kriz/cifar.html; torchvision checks the same sum.
_TEST_BATCH_MD5 = "40351d587109b95175f43aff81a1287e"


def read_crowd(source: CrowdSource, base: Path) -> tuple[CrowdLabels, Truth]:
    """Read the annotations and the true classes of a crowd from the root folder of the data sets.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: the numbers of items, workers, annotations, classes or true classes differ from `source`.
    """
    crowd, truth = READERS[source.layout](source, base / source.folder)
    found = (crowd.n_items, crowd.n_workers, crowd.n_annotations, crowd.n_classes, int((truth >= 0).sum()))
    wanted = (source.n_items, source.n_workers, source.n_annotations, source.n_classes, source.n_known)
    if found != wanted:
        raise ValueError(f"numbers of items, workers, annotations, classes and true classes: {found}, not {wanted}")
    return crowd, truth


def convert_published(name: str, content: bytes) -> bytes:
    """Convert a published CSV table of Li's collection to the local form.

    The published columns are item, worker, label; in a table of true classes they are item, truth.  The local form has
    the columns task, worker, label or task, label.  It numbers the workers in the order of their first answers.

    Args:
        name: name of the local file; a name with the ending `_truth.csv` means a table of true classes.
        content: the published table.

    Raises:
        ValueError: the published table has other columns.
    """
    frame = pd.read_csv(io.BytesIO(content), dtype=str)
    columns = ["item", "truth"] if name.endswith("_truth.csv") else ["item", "worker", "label"]
    if list(frame.columns) != columns:
        raise ValueError(f"the published table must have the columns {', '.join(columns)}, got {list(frame.columns)}")
    frame.columns = ["task", *columns[1:-1], "label"]
    if "worker" in frame:
        frame["worker"] = pd.factorize(frame["worker"])[0]
    return frame.to_csv(index=False, lineterminator="\n").encode()


def _read_csv(
    source: CrowdSource, folder: Path, *, task: str = "task", label: str = "label"
) -> tuple[CrowdLabels, Truth]:
    """Read a table of answers, and a table whose columns `task` and `label` hold the true classes."""
    answers, items = (pd.read_csv(folder / name) for name in source.files)
    return _join(source, answers, items[[task, label]].set_axis(["task", "label"], axis=1))


def _read_cifar10n(source: CrowdSource, folder: Path) -> tuple[CrowdLabels, Truth]:
    columns = ["random_label1", "random_label2", "random_label3"]
    with np.load(folder / source.files[0]) as arrays:
        labels = np.stack([arrays[column] for column in columns], axis=1)
        truth = arrays["clean_label"].astype(np.int64)
    crowd = CrowdLabels.from_dense(labels.astype(np.int32), n_classes=source.n_classes)
    return replace(crowd, worker_ids=np.array(columns), class_names=np.array(class_names("cifar10"))), truth


def _read_cifar100n(source: CrowdSource, folder: Path) -> tuple[CrowdLabels, Truth]:
    with np.load(folder / source.files[0]) as arrays:
        worker, label, truth = (arrays[name].astype(np.int64) for name in ("worker", "noisy_label", "clean_label"))
    crowd = CrowdLabels(
        item=np.arange(len(label)),
        worker=worker,
        label=label,
        n_items=len(label),
        n_workers=source.n_workers,
        n_classes=source.n_classes,
        class_names=np.array(class_names("cifar100")),
    )
    return crowd, truth


def _read_cifar10h(source: CrowdSource, folder: Path) -> tuple[CrowdLabels, Truth]:
    answers = pd.read_csv(folder / source.files[0])
    labels = _test_batch_labels((folder / source.files[1]).read_bytes())
    truth = pd.DataFrame({"task": np.arange(len(labels)), "label": labels})
    crowd, known = _join(source, answers, truth)
    return replace(crowd, class_names=np.array(class_names("cifar10"))), known


def _test_batch_labels(content: bytes) -> NDArray[np.int64]:
    """Return the (10000,) classes in CIFAR-10's test_batch.

    Raises:
        ValueError: the file is not the published file.
    """
    # A pickle can run code, so only the published file is unpickled.
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != _TEST_BATCH_MD5:
        raise ValueError(f"test_batch has the MD5 sum {found}, the published file has {_TEST_BATCH_MD5}")
    return np.array(pickle.loads(content, encoding="bytes")[b"labels"])


READERS: dict[str, Callable[[CrowdSource, Path], tuple[CrowdLabels, Truth]]] = {
    "csv": _read_csv,
    "labelme": partial(_read_csv, task="index"),
    "music": partial(_read_csv, task="id", label="class"),
    "sentiment": _read_csv,
    "cifar10n": _read_cifar10n,
    "cifar100n": _read_cifar100n,
    "cifar10h": _read_cifar10h,
}
"""Maps the layout of a crowd's files to their reader."""


def _join(source: CrowdSource, answers: pd.DataFrame, truth: pd.DataFrame) -> tuple[CrowdLabels, Truth]:
    """Return the crowd of a table of answers, and its true classes from a table with the columns task and label."""
    crowd = CrowdLabels.from_frame(answers, repeats="keep")
    true_label = truth.set_index("task")["label"].reindex(crowd.item_ids)
    # get_indexer gives -1 for a true label that no worker gave, and for an item without a true label.
    known = pd.Index(np.asarray(crowd.class_names)).get_indexer(pd.Index(true_label)).astype(np.int64)
    return crowd if source.class_names is None else replace(crowd, class_names=np.array(source.class_names)), known
