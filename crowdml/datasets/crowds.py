"""Crowds of real workers by name: annotations, true classes and items.  Only `load_crowd` reads files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from crowdml.datasets.crowd_inputs import crowd_names_with_inputs, read_inputs
from crowdml.datasets.crowd_sources import SOURCES, CrowdSource
from crowdml.datasets.data import TrainTest
from crowdml.datasets.download import DatasetMissingError, absent_files, data_root, fetch, missing_error
from crowdml.labels import CrowdLabels
from crowdml.support.names import check_name


@dataclass(frozen=True, eq=False)
class CrowdData:
    """A crowd of real workers.

    Args:
        name: the name in a grid.
        crowd: the annotations, including repeated answers of a worker to an item.
        truth: (n_items,) int64 true classes; -1 where the true class is not known.
        for_networks: the items as images or features; None if they were not loaded.
    """

    name: str
    crowd: CrowdLabels
    truth: NDArray[np.int64]
    for_networks: TrainTest | None = None

    @property
    def known(self) -> NDArray[np.bool_]:
        """(n_items,) True where the true class is known."""
        return self.truth >= 0

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes in index order."""
        names = range(self.crowd.n_classes) if self.crowd.class_names is None else self.crowd.class_names
        return tuple(map(str, names))

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.crowd.n_classes

    @property
    def arrays(self) -> tuple[NDArray[np.generic] | None, ...]:
        """All arrays of the data, for `fingerprint`."""
        items = () if self.for_networks is None else self.for_networks.arrays
        return (self.crowd.item, self.crowd.worker, self.crowd.label, self.truth, *items)

    @property
    def nbytes(self) -> int:
        """Size of all arrays in bytes."""
        return sum(array.nbytes for array in self.arrays if array is not None)


def crowd_names() -> tuple[str, ...]:
    """Return the names that `load_crowd` accepts."""
    return tuple(SOURCES)


def crowd_source(name: str) -> CrowdSource:
    """Return sizes, origin, licence and citation of a crowd.

    Raises:
        UnknownNameError: no crowd has this name (a ValueError).
    """
    return SOURCES[check_name("real crowd", name, SOURCES)]


def load_crowd(
    name: str, root: str | Path | None = None, *, download: bool = True, for_networks: bool = False
) -> CrowdData:
    """Load a crowd of real workers.

    Args:
        name: one of `crowd_names()`.
        root: the root folder of the data sets; by default the variable CROWDML_DATA_ROOT, or ~/.cache/crowdml.
        download: download missing files, if the crowd can be downloaded.
        for_networks: also read the items as images or features, so that networks can be trained on them.

    Raises:
        UnknownNameError: no crowd has this name (a ValueError).
        DatasetMissingError: files are missing and cannot be downloaded, or are damaged; the message says what to do.
        ValueError: `for_networks` is set and the items of this crowd are not available.
    """
    # Imported here, because the names of the crowds need no pandas.
    from crowdml.datasets.crowd_files import read_crowd

    if for_networks and name not in crowd_names_with_inputs():
        listed = ", ".join(crowd_names_with_inputs())
        raise ValueError(f"networks need items, and {name} has only labels; crowds with items are {listed}")
    source = crowd_source(name)
    base = data_root(root)
    if absent_files(source, base):
        _download(name, source, base, download=download)
    try:
        crowd, truth = read_crowd(source, base)
    except (ValueError, KeyError, OSError, EOFError, BadZipFile) as error:
        folder = base / source.folder
        raise DatasetMissingError(
            f"the files of {name} in {folder} are damaged ({error}); delete {', '.join(source.files)} and load again"
        ) from error
    items = read_inputs(name, crowd, base, base / source.folder) if for_networks else None
    return CrowdData(name=name, crowd=crowd, truth=truth, for_networks=items)


def _download(name: str, source: CrowdSource, base: Path, *, download: bool) -> None:
    from crowdml.datasets.crowd_files import convert_published

    if not download or not source.published:
        reason = f"has no automatic download (origin: {source.origin})" if download else "download is off"
        raise missing_error(name, source, base, reason)
    try:
        for file in absent_files(source, base):
            url, checksum = source.published[file]
            fetch(url, base / source.folder / file, checksum, partial(convert_published, file))
    except (OSError, ValueError) as error:
        raise missing_error(name, source, base, f"could not be downloaded ({error})") from error
