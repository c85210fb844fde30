"""Items: a user's feature vectors or images, each with an id."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crowdml.learning.features import check_features


@dataclass(frozen=True, eq=False)
class Items:
    """Features or images in memory, or images that are read from their files while the network trains.

    Args:
        source: where the items come from, for messages.
        ids: (n_items,) the id of each item; a file of labels calls the id the task.
        values: (n_items, channels, height, width) uint8 images or (n_items, n_features) features; None if the images
            stay in their files.
        paths: (n_items,) the files of the images of a folder; empty for other items.
        columns: the names of the features; empty if the features have no names.
        skipped: (file, reason) of each image that cannot be read.
        left_out: (file or folder, reason) of what is not an image in a folder, see `folders.layouts.FolderItems`.
        checked: key of the check that found `skipped`, see `crowdml.training.user_data.read_data`; empty without check.

    Raises:
        ValueError: there are no items, the values have a wrong type or shape, or an id occurs twice.
    """

    source: str
    ids: NDArray[Any]
    values: NDArray[Any] | None = None
    paths: tuple[Path, ...] = ()
    columns: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    checked: str = ""

    def __post_init__(self) -> None:
        if not len(self.ids):
            raise ValueError(f"{self.source}: no items")
        if self.values is not None:
            object.__setattr__(self, "values", _checked_values(self.source, self.values, self.columns))
            assert self.values is not None
            if len(self.values) != len(self.ids):
                raise ValueError(f"{self.source}: {len(self.ids)} ids and {len(self.values)} items")
        names, counts = np.unique(self.ids, return_counts=True)
        if counts.max() > 1:
            raise ValueError(f"{self.source}: task {names[counts > 1][0]} occurs {counts.max()} times")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def in_shape(self) -> tuple[int, ...] | None:
        """The shape of one item; None if the images stay in their files."""
        return None if self.values is None else self.values.shape[1:]

    def take(self, places: NDArray[np.int64]) -> Items:
        """Return the items at (n,) places, in that order."""
        if np.array_equal(places, np.arange(len(self))):
            return self
        return replace(
            self,
            ids=self.ids[places],
            values=None if self.values is None else self.values[places],
            paths=tuple(self.paths[place] for place in places) if self.paths else (),
        )

    def without(self, faults: Mapping[Path, str]) -> Items:
        """Return the items without the files in `faults` (file -> reason), which become `skipped`.

        Raises:
            ValueError: no item is left.
        """
        if not faults:
            return self
        readable = np.array([path not in faults for path in self.paths])
        skipped = tuple((str(path), reason) for path, reason in faults.items())
        if not readable.any():
            file, reason = skipped[0]
            raise ValueError(f"{self.source}: none of the {len(self)} images can be read; {file}: {reason}")
        return replace(self.take(np.flatnonzero(readable)), skipped=skipped)

    def notes(self) -> list[str]:
        """Return which files of a folder are not among the items, one line per kind of reason."""
        notes = []
        if self.skipped:
            named = [f"{file}: {reason}" for file, reason in self.skipped]
            notes.append(f"images that cannot be read, left out: {some(named)}")
        for kind in dict.fromkeys(reason for _, reason in self.left_out):
            notes.append(f"{kind}, left out: {some([file for file, reason in self.left_out if reason == kind])}")
        return notes

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change when the items, or the sizes or times of streamed images, change."""
        content = map(file_state, self.paths) if self.values is None else [self.values]
        return digest(*map(str, self.ids), *self.columns, *content)


def file_state(path: str | Path) -> str:
    """Return the path, size and time of a file as a text, which changes when the file changes.

    Raises:
        OSError: there is no such file.
    """
    stat = Path(path).stat()
    return f"{path} {stat.st_size} {stat.st_mtime_ns}"


def digest(*parts: str | NDArray[Any] | None) -> str:
    """Return 16 hexadecimal digits, a hash of texts and arrays that includes types, shapes and order."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype} {part.shape}\n".encode())
            total.update(np.ascontiguousarray(part).data)
        else:
            total.update(f"{part}\n".encode())
    return total.hexdigest()[:16]


def _checked_values(source: str, values: NDArray[Any], columns: Sequence[str]) -> NDArray[Any]:
    """Return images unchanged, and features as real numbers of at most 64 bits."""
    if values.dtype == np.uint8 and values.ndim == 4:
        return values
    if values.ndim != 2 or values.dtype.kind not in "buifc":
        raise ValueError(
            f"{source}: items must be features (n_items, n_features) or uint8 images "
            f"(n_items, channels, height, width), got {values.dtype} {values.shape}"
        )
    if np.iscomplexobj(values) or values.shape[1] == 0:
        raise ValueError(f"{source}: features must be real numbers, at least one per item; got {values.dtype}")
    check_features(values, source, columns)
    return values.astype(np.float64) if values.dtype == np.longdouble else values


def some(names: Sequence[object] | NDArray[Any], n_shown: int = 3) -> str:
    """Return the number of names and the first `n_shown` names, as text."""
    shown = ", ".join(str(name) for name in names[:n_shown])
    return f"{len(names):,} ({shown}{', ...' if len(names) > n_shown else ''})"
