"""Turn a wide table, with one row per item and one column per worker, into one row per annotation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from crowdml.files.form import FileError
from crowdml.files.plain_values import empty_rows


class WideBlock(NamedTuple):
    """The annotations in some rows of a wide table.

    Attributes:
        columns: the items, workers and labels, each (n_annotations,).
        rows: (n_annotations,) the row of each annotation, counted from the first row of the block.
        n_before: number of rows of the wide table before the first row of the block.
    """

    columns: list[pa.DictionaryArray]
    rows: NDArray[np.int64]
    n_before: int


def melted(arrays: Sequence[pa.DictionaryArray], workers: Sequence[str], n_before: int) -> WideBlock:
    """Return the annotations in rows of a wide table, row by row.  Empty cells are no annotations.

    Args:
        arrays: the column of the items, then one column per worker.
        workers: the names of the workers.
        n_before: see WideBlock.

    Raises:
        FileError: two workers give labels of types that do not go together.  The message does not name the file.
    """
    items, answers = arrays[0], list(arrays[1:])
    given = np.column_stack([_is_given(array) for array in answers])
    codes, values = _common(answers, workers, np.logical_or.reduce(given, axis=0))
    rows, by = np.nonzero(given)
    item_codes = items.indices.fill_null(-1).to_numpy()
    columns = [
        _of_used(item_codes[rows], items.dictionary),
        _of_used(by.astype(np.int32), pa.array(workers, pa.string())),
        _of_used(codes[rows, by], values),
    ]
    return WideBlock(columns, rows, n_before)


def _of_used(codes: NDArray[np.int32], values: pa.Array) -> pa.DictionaryArray:
    """Return a column without the values that no row has.  The code -1 is an empty value."""
    used, place = np.unique(codes, return_inverse=True)
    first = int(used[:1].sum() < 0)  # 1 if the smallest code is -1
    indices: Any = pa.array((place - first).astype(np.int32), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, values.take(pa.array(used[first:], pa.int32())))


def _is_given(array: pa.DictionaryArray) -> NDArray[np.bool_]:
    empty = empty_rows(array)
    return np.ones(len(array), bool) if empty is None else ~empty


def _common(
    answers: Sequence[pa.DictionaryArray], workers: Sequence[str], answered: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], pa.Array]:
    """Return the (n_rows, n_workers) code of each cell and the values of the codes, of one type for all workers."""
    first: dict[pa.DataType, str] = {}
    for name, array, has_any in zip(workers, answers, answered, strict=True):
        if has_any:  # a column without any answer can have any type
            first.setdefault(array.dictionary.type, name)
    kinds = list(first)
    if len(kinds) > 1 and all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in kinds):
        kinds = [pa.float64()]
    if len(kinds) > 1:
        (one, a), (other, b) = list(first.items())[:2]
        raise FileError(f"column {a!r} holds {one}, but column {b!r} holds {other}; the labels need one type")
    kind = kinds[0] if kinds else pa.string()
    nothing = pa.array([], kind)
    alike = [
        pa.DictionaryArray.from_arrays(array.indices, array.dictionary.cast(kind))
        if has_any
        else pa.DictionaryArray.from_arrays(pa.array([None] * len(array), pa.int32()), nothing)
        for array, has_any in zip(answers, answered, strict=True)
    ]
    column: Any = pa.chunked_array(alike).unify_dictionaries()
    codes = np.column_stack([chunk.indices.fill_null(-1).to_numpy() for chunk in column.chunks])
    return codes.astype(np.int32, copy=False), column.chunk(0).dictionary
