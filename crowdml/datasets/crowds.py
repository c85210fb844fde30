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
from crowdml.datasets.crowd_sources import SOURCES, CrowdSource
from crowdml.datasets.download import ROOT_VARIABLE, DatasetMissingError, data_root, fetch
from crowdml.labels import CrowdLabels
from crowdml.names import check_name


@dataclass(frozen=True, eq=False)
class CrowdData:
    """A crowd of real workers.

    Args:
        name: its name in a grid.
        crowd: who gave which item which label; repeated answers of one worker are kept.
        truth: (n_items,) int64 true classes, -1 where not known.
    """

    name: str
    crowd: CrowdLabels
    truth: NDArray[np.int64]

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
    def arrays(self) -> tuple[NDArray[np.generic], ...]:
        """What the data consist of, for `fingerprint`."""
        return (self.crowd.item, self.crowd.worker, self.crowd.label, self.truth)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays)


def crowd_names() -> tuple[str, ...]:
    """The names that `load_crowd` takes."""
    return tuple(SOURCES)


def crowd_source(name: str) -> CrowdSource:
    """Sizes, origin, licence and citation of a crowd.

    Raises:
        UnknownNameError: no such crowd (a ValueError).
    """
    return SOURCES[check_name("real crowd", name, SOURCES)]


def load_crowd(name: str, root: str | Path | None = None, *, download: bool = True) -> CrowdData:
    """Load a crowd of real workers.

    Args:
        name: one of `crowd_names()`.
        root: folder of the data sets; by default the environment variable CROWDML_DATA_ROOT, else ~/.cache/crowdml.
        download: fetch files that are not there, of the crowds whose origin has them in a form that can be read.

    Raises:
        UnknownNameError: no such crowd (a ValueError).
        DatasetMissingError: its files are neither there nor to be had, or damaged; says which belong where.
    """
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
    return CrowdData(name=name, crowd=crowd, truth=truth)


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
