"""Read crowds from files: annotations, labels of items, and other small tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crowdml.files.form import FOUND, FileError, FileForm
from crowdml.files.formats import Part, batches, ending, parts, place
from crowdml.files.gold_and_history import HISTORY_COLUMNS, lookup, with_gold, with_history
from crowdml.files.text_stream import Progress
from crowdml.labels import CrowdLabels, Repeats

_NOT_A_VALUE = ("", "nan", "NaN")
_WHOLE_NUMBER = r"^(0|-?[1-9][0-9]{0,17})$"


@dataclass(frozen=True)
class Columns:
    """The names of the three columns in a file of annotations."""

    task: str = "task"
    worker: str = "worker"
    label: str = "label"

    def __post_init__(self) -> None:
        if len(set(astuple(self))) < 3:
            raise ValueError(f"the columns of task, worker and label must differ, got {', '.join(astuple(self))}")


def read_crowd(
    path: str | Path,
    task: str = "task",
    worker: str = "worker",
    label: str = "label",
    class_names: Sequence[Any] | None = None,
    repeats: Repeats = "error",
    *,
    form: FileForm = FOUND,
    gold: str | Path | pd.Series | None = None,
    history: str | Path | pd.DataFrame | None = None,
    progress: Progress | None = None,
) -> CrowdLabels:
    """Return the crowd in a CSV (.csv), JSON-lines (.jsonl), JSON (.json) or Parquet file, or a folder of such files.

    The file has one row per annotation, unless `form` says otherwise.  A CSV column becomes integers if all its values
    are plain whole numbers.  Otherwise the column stays text, exactly as written ("007" stays "007").  Columns of other
    formats keep their types.
    Ids and classes are numbered in sorted order.

    Args:
        path: the file, or a folder of files of one format.
        task, worker, label: the names of the columns.  Other columns are not read.
        class_names: all classes, in order; the default is the classes that occur, sorted.
        repeats: see CrowdLabels.
        form: how the file stores its rows, such as `FileForm("wide")`.  The forms of `gold` and `history` are found.
        gold: known labels of items: a Series, or a file whose columns have the names `task` and `label`.
        history: earlier answers of the workers: a frame, or a file with the columns worker, truth, label and count.
        progress: called with the amount read and the total amount.

    Raises:
        FileError: the file cannot be read, a column is missing, a value is empty, a worker labelled an item twice, or a
            label is not in `class_names`.  The message names the file, the column and the line.
    """
    columns = Columns(task, worker, label)
    table = _read(Path(path), astuple(columns), progress, form)
    names, label_index = _classes(table, columns.label, class_names)
    items, workers = table.columns[columns.task], table.columns[columns.worker]
    if repeats == "error":
        _refuse_repeats(table, columns)
    crowd = CrowdLabels(
        item=items.codes,
        worker=workers.codes,
        label=label_index,
        n_items=len(items.values),
        n_workers=len(workers.values),
        n_classes=len(names),
        item_ids=items.values,
        worker_ids=workers.values,
        class_names=names,
        # `_refuse_repeats` has checked for repeats already, because it can name the line.
        repeats="keep" if repeats == "error" else repeats,
    )
    if gold is not None:
        crowd = with_gold(crowd, gold if isinstance(gold, pd.Series) else read_labels(gold, task, label))
    if history is not None:
        crowd = with_history(crowd, history if isinstance(history, pd.DataFrame) else read_history(history))
    return crowd


def read_labels(path: str | Path, task: str = "task", label: str = "label") -> pd.Series:
    """Return the label of each item, as a Series with the items as index.

    Raises:
        FileError: see `read_crowd`; or an item occurs twice.
    """
    table = _read(Path(path), (task, label))
    items = table.columns[task]
    if len(items.values) < len(items.codes):
        row = _first_repeat(items.codes.astype(np.int64))
        raise FileError(f"{table.place(row)}: task {items.values[items.codes[row]]} occurs for the second time")
    return pd.Series(table.columns[label].each, index=pd.Index(items.each, name=task), name=label)


def read_history(path: str | Path) -> pd.DataFrame:
    """Return earlier answers of workers, in the columns of `aggregate --confusion`: worker, truth, label, count."""
    return read_columns(path, HISTORY_COLUMNS, numbers=("count",))


def read_columns(path: str | Path, columns: Sequence[str], numbers: Sequence[str] = ()) -> pd.DataFrame:
    """Return columns of a file that is small enough for pandas.  Convert the columns in `numbers` to floats.

    Raises:
        FileError: see `read_crowd`; or a value in `numbers` is not a number.
    """
    table = _read(Path(path), columns)
    frame = pd.DataFrame({name: table.columns[name].each for name in columns})
    for name in numbers:
        parsed = pd.to_numeric(frame[name], errors="coerce")
        if parsed.isna().any():
            row = int(parsed.isna().to_numpy().argmax())
            raise FileError(f"{table.place(row)}: column {name!r} must be a number, got {frame[name][row]!r}")
        frame[name] = parsed.astype(np.float64)
    return frame


class _Coded(NamedTuple):
    """A column: the (n_rows,) int32 code of each row, and the distinct values, sorted."""

    codes: NDArray[np.int32]
    values: NDArray[Any]

    @property
    def each(self) -> NDArray[Any]:
        return self.values[self.codes]


class _Table(NamedTuple):
    """Columns by name, and the source files with their numbers of rows."""

    columns: dict[str, _Coded]
    sources: list[tuple[Part, int]]

    def place(self, row: int) -> str:
        """Return the text that names the file and the position of a row, counted from 0."""
        for path, n_rows in self.sources:
            if row < n_rows:
                return place(path, row)
            row -= n_rows
        raise IndexError(row)


def _read(path: Path, columns: Sequence[str], progress: Progress | None = None, form: FileForm = FOUND) -> _Table:
    chunks: dict[str, list[pa.DictionaryArray]] = {name: [] for name in columns}
    sources: list[tuple[Part, int]] = []
    for part in parts(path, columns, form):
        n_rows = 0
        for arrays in batches(part, progress):
            for name, array in zip(columns, arrays, strict=True):
                _check_filled(part, name, array, n_rows)
                _check_type(part, name, array, chunks[name], sources)
                chunks[name].append(array)
            n_rows += len(arrays[0])
        sources.append((part, n_rows))
    if not sum(n_rows for _, n_rows in sources):
        raise FileError(f"{path}: no rows")
    typed = ending(sources[0][0].path) != ".csv"
    # Number one column at a time, so that the batches of a column are freed before the next column is built.
    return _Table({name: _numbered(chunks.pop(name), typed=typed) for name in columns}, sources)


def _check_filled(path: Part, name: str, array: pa.DictionaryArray, n_before: int) -> None:
    """Raise FileError at the first row of a batch that is null, blank or NaN."""
    values = array.dictionary
    empty = pc.is_null(values, nan_is_null=True)
    if pa.types.is_string(values.type):
        empty = pc.or_(empty, pc.is_in(pc.utf8_trim_whitespace(values), pa.array(_NOT_A_VALUE)))
    if not array.indices.null_count and not pc.any(empty).as_py():
        return
    # A null row has the code -1.  As an index, -1 picks the last flag, which is True.
    flags = np.append(empty.to_numpy(zero_copy_only=False), True)
    is_empty = flags[array.indices.fill_null(-1).to_numpy()]
    if is_empty.any():
        row = int(is_empty.argmax())
        given = array[row].as_py()
        says = f" ({given!r})" if given else ""
        raise FileError(f"{place(path, n_before + row)}: column {name!r} is empty{says}")


def _check_type(
    path: Part, name: str, array: pa.DictionaryArray, before: list[pa.DictionaryArray], sources: list[tuple[Part, int]]
) -> None:
    if before and before[0].type != array.type:
        there = sources[0][0] if sources else path
        raise FileError(
            f"{path}: column {name!r} holds {array.type.value_type}, but {before[0].type.value_type} in {there}"
        )


def _numbered(chunks: list[pa.DictionaryArray], *, typed: bool) -> _Coded:
    """Return all rows of a column, numbered in the sorted order of the values."""
    column: Any = pa.chunked_array(chunks).unify_dictionaries()
    chunks.clear()
    values = column.chunk(0).dictionary
    if not typed and pc.all(pc.match_substring_regex(values, _WHOLE_NUMBER)).as_py():
        values = values.cast(pa.int64())
    order = pc.sort_indices(values)
    rank = np.empty(len(values), np.int32)
    rank[order.to_numpy()] = np.arange(len(values), dtype=np.int32)
    codes = np.concatenate([rank[chunk.indices.to_numpy()] for chunk in column.chunks])
    return _Coded(codes, values.take(order).to_numpy(zero_copy_only=False))


def _classes(table: _Table, label: str, class_names: Sequence[Any] | None) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Return the classes in order, and the class of each row."""
    given = table.columns[label]
    if class_names is None:
        return given.values, given.codes
    names = np.asarray(class_names)
    if len(pd.unique(names)) < len(names):
        raise ValueError(f"the classes must differ, got {', '.join(map(str, names))}")
    index = lookup(names, given.values).astype(np.int32)[given.codes]
    if index.min() < 0:
        row = int(index.argmin())
        raise FileError(
            f"{table.place(row)}: column {label!r} holds {str(given.values[given.codes[row]])!r}, "
            f"which is not among the classes {', '.join(map(str, names))}"
        )
    return names, index


def _refuse_repeats(table: _Table, columns: Columns) -> None:
    items, workers = table.columns[columns.task], table.columns[columns.worker]
    pair = items.codes.astype(np.int64)
    pair *= len(workers.values)  # in place, because the array can be large
    pair += workers.codes
    in_order = np.sort(pair)
    repeated = in_order[1:][in_order[1:] == in_order[:-1]]
    del in_order
    if len(repeated):
        among = np.flatnonzero(pd.Series(pair).isin(repeated))
        row = int(among[_first_repeat(pair[among])])
        item, worker = items.values[items.codes[row]], workers.values[workers.codes[row]]
        raise FileError(
            f"{table.place(row)}: worker {worker} labels task {item} for the second time ({len(repeated)} repeated "
            f'annotations in all); choose repeats "first" or "keep"'
        )


def _first_repeat(values: NDArray[np.int64]) -> int:
    """Return the first row whose value occurs in an earlier row."""
    return int(pd.Series(values).duplicated().to_numpy().argmax())
