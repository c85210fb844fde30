"""Crowds of real workers by name: their annotations and what is known of the truth.

Everything but `load_crowd` is answered without reading a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from crowdml.datasets.crowd_files import as_kept, read_crowd
from crowdml.datasets.crowd_inputs import crowd_names_with_inputs, read_inputs
from crowdml.datasets.crowd_sources import SOURCES, CrowdSource
from crowdml.datasets.data import TrainTest
from crowdml.datasets.download import ROOT_VARIABLE, DatasetMissingError, data_root, fetch
from crowdml.labels import CrowdLabels
from crowdml.support.names import check_name


@dataclass(frozen=True, eq=False)
class CrowdData:
    """A crowd of real workers.

    Args:
        name: its name in a grid.
        crowd: who gave which item which label; repeated answers of one worker are kept.
        truth: (n_items,) int64 true classes, -1 where not known.
        for_networks: the items as images or features, where they were asked for.
    """

    name: str
    crowd: CrowdLabels
    truth: NDArray[np.int64]
    for_networks: TrainTest | None = None

    @property
    def known(self) -> NDArray[np.bool_]:
        """(n_items,) whether the true class is known."""
        return self.truth >= 0

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in index order."""
        names = range(self.crowd.n_classes) if self.crowd.class_names is None else self.crowd.class_names
        return tuple(map(str, names))

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.crowd.n_classes

    @property
    def arrays(self) -> tuple[NDArray[np.generic] | None, ...]:
        """What the data consist of, for `fingerprint`."""
        items = () if self.for_networks is None else self.for_networks.arrays
        return (self.crowd.item, self.crowd.worker, self.crowd.label, self.truth, *items)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays if array is not None)


def crowd_names() -> tuple[str, ...]:
    """The names that `load_crowd` takes."""
    return tuple(SOURCES)


def crowd_source(name: str) -> CrowdSource:
    """Sizes, origin, licence and citation of a crowd.

    Raises:
        UnknownNameError: no such crowd (a ValueError).
    """
    return SOURCES[check_name("real crowd", name, SOURCES)]


def load_crowd(
    name: str, root: str | Path | None = None, *, download: bool = True, for_networks: bool = False
) -> CrowdData:
    """Load a crowd of real workers.

    Args:
        name: one of `crowd_names()`.
        root: folder of the data sets; by default the environment variable CROWDML_DATA_ROOT, else ~/.cache/crowdml.
        download: fetch files that are not there, of the crowds whose origin has them in a form that can be read.
        for_networks: read the items too, as images or features, so that networks can be trained on them.

    Raises:
        UnknownNameError: no such crowd (a ValueError).
        DatasetMissingError: its files are neither there nor to be had, or damaged; says which belong where.
        ValueError: there are no items of this crowd to train networks on.
    """
    if for_networks and name not in crowd_names_with_inputs():
        listed = ", ".join(crowd_names_with_inputs())
        raise ValueError(f"the items of {name} are not at hand, so no network can be trained on them; try {listed}")
    source = crowd_source(name)
    base = data_root(root)
    if _absent(source, base):
        _download(name, source, base, download=download)
    try:
        crowd, truth = read_crowd(source, base)
    except (ValueError, KeyError, OSError, EOFError, UnpicklingError, BadZipFile) as error:
        folder = base / source.folder
        raise DatasetMissingError(
            f"the files of {name} in {folder} are damaged ({error}); delete {', '.join(source.files)} there and load "
            "it again"
        ) from error
    items = read_inputs(name, crowd, base, base / source.folder) if for_networks else None
    return CrowdData(name=name, crowd=crowd, truth=truth, for_networks=items)


def _download(name: str, source: CrowdSource, base: Path, *, download: bool) -> None:
    if not download:
        raise _missing(name, source, base, "download is off")
    if not source.published:
        raise _missing(name, source, base, f"it cannot be downloaded as it is kept (origin: {source.origin})")
    try:
        for file in _absent(source, base):
            url, checksum = source.published[file]
            fetch(url, base / source.folder / file, checksum, lambda content, file=file: as_kept(file, content))
    except (OSError, ValueError) as error:
        raise _missing(name, source, base, f"could not be downloaded ({error})") from error


def _absent(source: CrowdSource, base: Path) -> list[str]:
    return [file for file in source.files if not (base / source.folder / file).is_file()]


def _missing(name: str, source: CrowdSource, base: Path, reason: str) -> DatasetMissingError:
    absent = ", ".join(_absent(source, base))
    what = "them" if source.folder == "." else source.folder
    return DatasetMissingError(
        f"{name} is not in {base / source.folder} and {reason}. Put {absent} into that folder, or set {ROOT_VARIABLE} "
        f"to the folder that holds {what}"
    )
