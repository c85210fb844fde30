"""Find the folder of the data sets, download missing files, and read the data sets of torchvision."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crowdml.datasets.crowd_sources import CrowdSource
from crowdml.support.torchvision_import import import_torchvision
from crowdml.support.whole_file import whole_file

Part = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Images (n_items, channels, height, width) and their classes (n_items,)."""

ROOT_VARIABLE = "CROWDML_DATA_ROOT"

logger = logging.getLogger(__name__)


class DatasetMissingError(FileNotFoundError):
    """Files of a data set are missing and cannot be downloaded, or are damaged."""


@dataclass(frozen=True)
class TorchvisionFiles:
    """A class in `torchvision.datasets`, its folder in the root of the data sets, and all files read from it."""

    class_name: str
    folder: str
    files: tuple[str, ...]


def data_root(root: str | Path | None = None) -> Path:
    """Return `root`, or the folder in the environment variable CROWDML_DATA_ROOT, or ~/.cache/crowdml."""
    return Path(root or os.environ.get(ROOT_VARIABLE) or "~/.cache/crowdml").expanduser()


def fetch(url: str, path: Path, sha256: str, convert: Callable[[bytes], bytes]) -> None:
    """Download a file, convert its content, and write `path` and missing folders.

    Other processes see the whole file or no file.  `sha256` is the checksum of the converted file, as hexadecimal text.

    Raises:
        OSError: the file cannot be downloaded or written.
        ValueError: the checksum is wrong, or `convert` refuses the content.
    """
    logger.warning("downloading %s to %s", url, path)
    with urllib.request.urlopen(url, timeout=60) as answer:
        content = convert(answer.read())
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(f"the file from {url} has SHA-256 {found[:16]}..., not {sha256[:16]}...")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def read_torchvision(
    source: TorchvisionFiles, root: str | Path | None = None, *, download: bool = True
) -> tuple[Part, Part]:
    """Read the training and the test part of a data set of torchvision.

    Raises:
        DatasetMissingError: a file is missing and `download` is False or fails, or a file is damaged.
    """
    base = data_root(root)
    if absent_files(source, base):
        if not download:
            raise missing_error(source.class_name, source, base, "download is off")
        _fetch(source, base)
    try:
        return _read(source, base, train=True), _read(source, base, train=False)
    except (RuntimeError, ValueError, AssertionError, EOFError, OSError) as error:
        folder = base / source.folder
        raise DatasetMissingError(
            f"the files of {source.class_name} in {folder} are damaged ({error}); delete {folder} and load again"
        ) from error


def absent_files(source: TorchvisionFiles | CrowdSource, base: Path) -> list[str]:
    """Return the files of a data set that are missing in the root folder `base`."""
    return [name for name in source.files if not (base / source.folder / name).is_file()]


def missing_error(name: str, source: TorchvisionFiles | CrowdSource, base: Path, reason: str) -> DatasetMissingError:
    """Return the error for missing files.  The message says which files belong in which folder."""
    absent = ", ".join(absent_files(source, base))
    folder = "them" if source.folder == "." else source.folder
    return DatasetMissingError(
        f"{name} is not in {base / source.folder} and {reason}. Put {absent} into that folder, or set {ROOT_VARIABLE} "
        f"to the folder that holds {folder}"
    )


def _fetch(source: TorchvisionFiles, base: Path) -> None:
    """Download a data set, then move it into place, so that other processes see all of it or nothing."""
    # This is a warning, because warnings appear without logging settings, and a download can take minutes.
    logger.warning("downloading %s into %s", source.class_name, base)
    top = source.folder.partition("/")[0]
    try:
        base.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=base, prefix=".download-") as scratch:
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                _dataset_class(source)(scratch, train=True, download=True)
            # Another process may have moved the same files into place in the meantime.
            if absent_files(source, base):
                (Path(scratch) / top).rename(base / top)
    except (OSError, RuntimeError) as error:
        raise missing_error(source.class_name, source, base, f"could not be downloaded ({error})") from error


def _read(source: TorchvisionFiles, base: Path, *, train: bool) -> Part:
    part = _dataset_class(source)(base, train=train)
    images, labels = np.asarray(part.data), np.asarray(part.targets, dtype=np.int64)
    if len(images) != len(labels):
        raise ValueError(f"{len(images)} images but {len(labels)} labels")
    # MNIST has no channel axis; CIFAR has the channel axis last.
    channels_first = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(channels_first), labels


def _dataset_class(source: TorchvisionFiles) -> Any:
    return getattr(import_torchvision().datasets, source.class_name)
