"""Turn columns of any Arrow type into numbers, truth values or text, and number their distinct values."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crowdml.support.distinct_texts import is_plain
from crowdml.support.value_text import (
    NOT_A_VALUE,
    NUMBER,
    TRUTH,
    are_numbers,
    as_whole,
    number_order,
    text_of,
    texts,
    typed,
)

_SHORT_WHOLE = r"^(0|-?[1-9][0-9]{0,17})$"


class Numbered(NamedTuple):
    """A column of a file.

    Attributes:
        codes: (n_rows,) the code of each row.
        values: the distinct values in order.
        is_ordered: whether the values are numbers, or the file gives their order.
        is_plain: True if it is certain that no value looks like another value.
    """

    codes: NDArray[np.int32]
    values: NDArray[Any]
    is_ordered: bool
    is_plain: bool

    @property
    def each(self) -> NDArray[Any]:
        """(n_rows,) the value of each row."""
        return self.values[self.codes]


def plain(values: pa.Array) -> pa.Array:
    """Return values as int64, uint64, double, bool or string; text and bytes are not interpreted as numbers."""
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_boolean(kind) or pa.types.is_float64(kind) or pa.types.is_uint64(kind):
        return values
    if pa.types.is_integer(kind):
        return values.cast(pa.int64())
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return values.cast(pa.string())
    if pa.types.is_decimal(kind) and kind.scale == 0:
        for whole in (pa.int64(), pa.uint64()):
            try:
                return values.cast(whole)
            except pa.ArrowInvalid:
                continue
    given = values.to_pylist()
    filled = [value for value in given if value is not None]
    if pa.types.is_floating(kind):
        # The shortest text in the given precision keeps 0.1 in single precision from becoming 0.10000000149011612.
        numbers: Any = [float(str(value)) for value in np.array(filled, kind.to_pandas_dtype())]
    else:
        words = [text_of(value) for value in filled]
        numbers = typed(words).tolist() if pa.types.is_decimal(kind) else words
    found = iter(numbers)
    wanted = None if pa.types.is_decimal(kind) else (pa.float64() if pa.types.is_floating(kind) else pa.string())
    return pa.array([None if value is None else next(found) for value in given], wanted)


def empty_rows(array: pa.DictionaryArray) -> NDArray[np.bool_] | None:
    """Return (n_rows,) whether each row is null, blank or NaN; None if no row is."""
    values = array.dictionary
    empty: Any = pc.is_null(values, nan_is_null=True)
    if pa.types.is_string(values.type):
        empty = pc.or_(empty, pc.is_in(pc.utf8_trim_whitespace(values), pa.array(NOT_A_VALUE)))
    if not array.indices.null_count and not pc.any(empty).as_py():
        return None
    # A null row has the code -1.  As an index, -1 picks the last flag, which is True.
    flags = np.append(empty.to_numpy(zero_copy_only=False), True).astype(bool)
    rows = flags[array.indices.fill_null(-1).to_numpy()]
    return rows if rows.any() else None


def plain_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame for a file: times, bytes and other columns that are no numbers or text become text.

    Categories become their values, so that every format holds the same values.
    """
    changed: dict[Any, Any] = {}
    for name, column in frame.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            column = changed[name] = column.astype(column.cat.categories.dtype)
        if column.dtype == np.float32 or column.dtype == np.float16:
            changed[name] = np.array([float(str(value)) for value in column.to_numpy()]) + 0.0
            continue
        if column.dtype == np.float64:
            changed[name] = column + 0.0  # -0.0 becomes 0.0
            continue
        is_usual = pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype)
        kind = pd.api.types.infer_dtype(column)
        is_usual |= kind in ("string", "empty", "boolean", "floating")
        is_usual |= kind == "integer" and as_whole(column.dropna().tolist()) is not None
        if not is_usual:
            is_null = column.isna().to_numpy()
            words = texts(column.astype(object).to_numpy())
            words[is_null] = None
            changed[name] = words
    return frame.assign(**changed) if changed else frame


def go_together(one: pa.DataType, other: pa.DataType) -> bool:
    """Return whether a column may hold values of both types: the types are equal, or both are numbers."""
    return one == other or all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in (one, other))


def numbered(chunks: list[pa.DictionaryArray], *, is_typed: bool, by_number: bool = False) -> Numbered:
    """Return all rows of a column, numbered in the order of the values.  Values that no row has are left out.

    Args:
        chunks: the column in pieces, of types that go together; the list is emptied to free memory.
        is_typed: whether the file gives the types.  Otherwise a column of text can become numbers or truth values.
        by_number: sort text that says only numbers by the numbers.
    """
    is_ordered = all(chunk.type.ordered and chunk.dictionary.equals(chunks[0].dictionary) for chunk in chunks)
    if len({chunk.type.value_type for chunk in chunks}) > 1:
        chunks[:] = [
            pa.DictionaryArray.from_arrays(
                chunk.indices, pa.array(texts(chunk.dictionary.to_numpy(False)), pa.string())
            )
            for chunk in chunks
        ]
        is_typed = False
    column: Any = pa.chunked_array(
        [pa.DictionaryArray.from_arrays(chunk.indices, chunk.dictionary) for chunk in chunks]
    ).unify_dictionaries()
    chunks.clear()
    values = column.chunk(0).dictionary
    codes = [chunk.indices.to_numpy() for chunk in column.chunks]
    is_used = np.zeros(len(values), bool)
    for part in codes:
        is_used[part] = True
    place = np.cumsum(is_used, dtype=np.int32) - np.int32(1)
    if not is_used.all():
        values = values.filter(pa.array(is_used))
    given, values = values.type, _in_usual_type(values, is_typed=is_typed)
    if values.type != given or pa.types.is_floating(given):
        again = values.dictionary_encode()  # two texts can say one number
        if len(again.dictionary) < len(values):
            place, values = again.indices.to_numpy()[place], again.dictionary
    is_text = pa.types.is_string(values.type)
    is_numeric = not is_text or (by_number and are_numbers(values.to_numpy(zero_copy_only=False)))
    if not is_ordered:
        # Text is sorted before it becomes Python objects, so that neighbours lie side by side in memory.
        order = number_order(values.to_numpy(False)) if is_text and is_numeric else pc.sort_indices(values).to_numpy()
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        in_order: Any = pa.array(order)
        place, values = rank[place], values.take(in_order)
    names = values.to_numpy(zero_copy_only=False)
    every = np.concatenate([place[part] for part in codes])
    return Numbered(every, names, is_ordered or is_numeric, not is_text or is_plain(values))


def _in_usual_type(values: pa.Array, *, is_typed: bool) -> pa.Array:
    if pa.types.is_floating(values.type):
        values = pc.add(values, 0.0)  # -0.0 becomes 0.0
        try:
            return values.cast(pa.int64())
        except pa.ArrowInvalid:  # not all are whole, or one is too large
            return values
    if pa.types.is_uint64(values.type):
        try:
            return values.cast(pa.int64())
        except pa.ArrowInvalid:
            return values
    if is_typed or not pa.types.is_string(values.type):
        return values
    if pc.all(pc.match_substring_regex(values, _SHORT_WHOLE)).as_py():
        return values.cast(pa.int64())
    if (len(values) <= len(TRUTH) and all(word in TRUTH for word in values.to_pylist())) or (
        pc.all(pc.match_substring_regex(values.slice(0, 1), NUMBER)).as_py()
        and pc.all(pc.match_substring_regex(values, NUMBER)).as_py()
    ):
        words: Any = values.to_pylist()
        given = typed(words)
        return pa.array(given, pa.string() if given.dtype == object else None)
    return values
