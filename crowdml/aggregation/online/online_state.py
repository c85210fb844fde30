"""The state of an online aggregator between calls: growing arrays, numbered names, and their file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, DTypeLike, NDArray

from crowdml.support.whole_file import whole_file

HEADER = "header"


class Rows:
    """An array that grows at its end.  Most additions need no copy.

    `shape` is the shape of one row, and `fill` is the value of the rows that `grow` adds.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, fill: float = 0) -> None:
        self._buffer = np.empty((0, *shape), dtype)
        self._n = 0
        self._fill = fill

    def __len__(self) -> int:
        return self._n

    @property
    def values(self) -> NDArray[Any]:
        """(n_rows, ...) a view to read and write.  Do not keep it after an addition."""
        return self._buffer[: self._n]

    def grow(self, n: int) -> None:
        """Make the array n rows long.  It never gets shorter."""
        if n > len(self._buffer):
            # Grow by half, so that all additions together copy each row only a few times.
            buffer = np.empty((max(n, len(self._buffer) * 3 // 2), *self._buffer.shape[1:]), self._buffer.dtype)
            buffer[: self._n] = self.values
            self._buffer = buffer
        self._buffer[self._n : n] = self._fill
        self._n = max(self._n, n)

    def append(self, rows: ArrayLike) -> None:
        """Add rows at the end."""
        added = np.asarray(rows)
        first = self._n
        self.grow(first + len(added))
        self._buffer[first : self._n] = added


class Numbering:
    """Numbers for names (strings or whole numbers), in the order of their first appearance.

    `what` says what has the names, for error messages.
    """

    def __init__(self, what: str, names: Sequence[int | str] = ()) -> None:
        self._what = what
        self._number: dict[int | str, int] = dict(zip(names, range(len(names)), strict=True))

    def __len__(self) -> int:
        return len(self._number)

    @property
    def names(self) -> list[int | str]:
        """All names, in the order of their numbers."""
        return list(self._number)

    def find(self, names: Sequence[int | str]) -> NDArray[np.int64]:
        """Return the (n_names,) numbers of the names, -1 for a name without a number."""
        return np.fromiter(map(self._number.get, plain(names), repeat(-1)), np.int64, len(names))

    def number(self, names: Sequence[int | str]) -> NDArray[np.int64]:
        """Return the (n_names,) numbers of the names.  New names get the next numbers, which `add` makes permanent.

        Raises:
            ValueError: a name is neither a string nor a whole number, or occurs twice.
        """
        for kind in set(map(type, names)) - {int, str}:
            raise ValueError(f"{self._what} ids must be strings or whole numbers, got {kind.__name__}")
        if len(set(names)) < len(names):
            raise ValueError(f"{self._what} ids must differ from each other")
        numbers = self.find(names)
        new = numbers < 0
        numbers[new] = np.arange(len(self), len(self) + new.sum())
        return numbers

    def add(self, names: Sequence[int | str]) -> None:
        """Make the numbers of `number` permanent."""
        for name in names:
            self._number.setdefault(name, len(self._number))


def plain(names: Sequence[Any] | NDArray[Any]) -> list[Any]:
    """Return the names as Python strings and numbers."""
    return pd.Index(names).tolist()


def write_state(path: str | Path, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a header of plain values and named arrays to one npz file.  A failed write leaves the old file."""
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with whole_file(path, durable=True) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **{HEADER: text}, **arrays)


def read_state(path: str | Path, *, kind: str, version: int) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the header and the arrays of a file of `write_state`.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is of another kind, damaged, or of another version.
    """
    with Path(path).open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as file:
                arrays = {Path(name).stem: _read_array(file, name) for name in file.namelist()}
            header = json.loads(arrays.pop(HEADER).tobytes())
        except (zipfile.BadZipFile, ValueError, KeyError, EOFError) as error:
            raise ValueError(f"{path} is not a saved {kind}, or is damaged: {error}") from error
    if header.get("kind") != kind:
        raise ValueError(f"{path} is not a saved {kind} but {header.get('kind')!r}")
    if header.get("version") != version:
        raise ValueError(
            f"{path} was saved as version {header.get('version')} of {kind}, this crowdml reads version {version}"
        )
    return header, arrays


def _read_array(file: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with file.open(name) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)
