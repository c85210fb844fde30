"""Read crowds from files: annotations, labels of items, and other small tables."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from crowdml.files.form import FOUND, FileError, FileForm
from crowdml.files.formats import Part, batches, column_names, ending, parts, place
from crowdml.files.gold_and_history import (
    HISTORY_COLUMNS,
    RowError,
    prior_of_items,
    shares_of_labels,
    with_gold,
    with_history,
)
from crowdml.files.gold_and_history import (
    class_names as class_names_of,
)
from crowdml.files.plain_values import Numbered, empty_rows, go_together, numbered
from crowdml.files.text_stream import Progress
from crowdml.labels import CrowdLabels, Repeats
from crowdml.support.look_alikes import cleaned, warn_of_case, warn_of_look_alikes
from crowdml.support.value_text import lookup, text_of, texts

logger = logging.getLogger(__name__)


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
    strip: bool = False,
    skip_empty: bool = False,
    progress: Progress | None = None,
) -> CrowdLabels:
    """Return the crowd in a CSV (.csv), JSON-lines (.jsonl), JSON (.json) or Parquet file, or a folder of such files.

    The file has one row per annotation, unless `form` says otherwise.  A CSV column becomes numbers or truth values if
    all its values are numbers in their usual form (7, -0.5, 1.0, but not 007 or 1e3), or words for true and false.
    Otherwise the column stays text, exactly as written.  Columns of other formats keep their types; times and bytes
    become text (see `crowdml.support.value_text`).  Ids and classes are numbered in sorted order: numbers by value,
    also labels that are numbers in text, and ordered categories of Parquet in their own order.  A warning in the log
    names texts that differ only by blanks or invisible characters.

    Args:
        path: the file, or a folder of files of one format.
        task, worker, label: the names of the columns.  Other columns are not read.
        class_names: all classes, in order; the default is the classes that occur, sorted.
        repeats: see CrowdLabels.
        form: how the file stores its rows, such as `FileForm("wide")`.  The forms of `gold` and `history` are found.
        gold: known labels of items: a Series, or a file whose columns have the names `task` and `label`.
        history: earlier answers of the workers: a frame, or a file with the columns worker, truth, label and count.
        strip: remove outer blanks and invisible characters from text, and use single blanks and Unicode form NFC.
        skip_empty: leave out rows without a label, instead of raising an error.
        progress: called with the amount read and the total amount.

    Raises:
        FileError: the file cannot be read, a column is missing, a value is empty, a worker labelled an item twice, or a
            label is not in `class_names`.  The message names the file, the column and the line.
    """
    columns = Columns(task, worker, label)
    if strip and class_names is not None:
        class_names = [cleaned(name) if isinstance(name, str) else name for name in class_names]
    table = _read(
        Path(path), astuple(columns), progress, form, strip=strip, skip_empty=columns.label if skip_empty else None,
        by_number=columns.label,
    )  # fmt: skip
    for name in astuple(columns):
        values = table.columns[name].values
        if not table.columns[name].is_plain:
            warn_of_look_alikes(str(path), name, values)
        if values.dtype == object and name == columns.label:
            warn_of_case(str(path), name, values)
    given = table.columns[columns.label]
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
        is_ordered=class_names is not None or given.is_ordered,
    )
    if isinstance(gold, pd.Series):
        crowd = with_gold(crowd, gold)
    elif gold is not None:
        known = _read_known(Path(gold), task, label, strip=strip)
        with _named_rows(known):
            crowd = with_gold(crowd, _labels(known, task, label))
    if isinstance(history, pd.DataFrame):
        crowd = with_history(crowd, history)
    elif history is not None:
        earlier = _read(Path(history), HISTORY_COLUMNS, strip=strip, numbers=("count",))
        with _named_rows(earlier):
            crowd = with_history(crowd, _frame(earlier, numbers=("count",)))
    return crowd


def read_labels(path: str | Path, task: str = "task", label: str = "label", *, strip: bool = False) -> pd.Series:
    """Return the label of each item, as a Series with the items as index.  See `read_crowd` for `strip`.

    Items without a label are left out, because the consensus has such items if ties abstain.  A warning counts them.

    Raises:
        FileError: see `read_crowd`; or an item occurs twice, or no item has a label.
    """
    return _labels(_read_known(Path(path), task, label, strip=strip), task, label)


def read_prior(
    path: str | Path, crowd: CrowdLabels, task: str = "task", label: str = "label", *, strip: bool = False
) -> NDArray[np.float64]:
    """Return the (n_items, n_classes) prior in a consensus file: the columns task and p_<class>.

    A consensus of very many classes has no columns p_<class>.  Then the columns label and probability are read, and the
    other classes share the rest of the probability equally.

    Raises:
        FileError: see `read_crowd`; or a task is missing or occurs twice, or a row is negative, infinite or all zeros.
        TooLargeError: the prior does not fit into memory.
    """
    shares = [f"p_{name}" for name in texts(class_names_of(crowd))]
    there = {name.strip() for name in column_names(parts(Path(path), (task,), FOUND)[0])[0]}
    if "probability" in there and there.isdisjoint(shares):
        table = _read(Path(path), (task, label, "probability"), strip=strip, numbers=("probability",))
        with _named_rows(table):
            frame = _frame(table, numbers=("probability",))
            chosen, probability = frame[label].to_numpy(), frame["probability"].to_numpy()
            return prior_of_items(crowd, frame[task].to_numpy(), shares_of_labels(crowd, chosen, probability))
    table = _read(Path(path), (task, *shares), strip=strip, numbers=shares)
    with _named_rows(table):
        frame = _frame(table, numbers=shares)
        return prior_of_items(crowd, frame[task].to_numpy(), frame[shares].to_numpy(np.float64))


def read_columns(
    path: str | Path, columns: Sequence[str], numbers: Sequence[str] = (), *, strip: bool = False
) -> pd.DataFrame:
    """Return columns of a file that is small enough for pandas.  Convert the columns in `numbers` to floats.

    Raises:
        FileError: see `read_crowd`; or a value in `numbers` is not a number.
    """
    return _frame(_read(Path(path), columns, numbers=numbers, strip=strip), numbers)


def _read_known(path: Path, task: str, label: str, *, strip: bool) -> _Table:
    """Return the items with a label in a file of true or gold labels."""
    table = _read(path, (task, label), strip=strip, skip_empty=label)
    n_skipped = sum(source.n_skipped for source in table.sources)
    if n_skipped:
        logger.warning("%s: %s rows have no label and are left out", path, f"{n_skipped:,}")
    return table


def _labels(table: _Table, task: str, label: str) -> pd.Series:
    items = table.columns[task]
    if len(items.values) < len(items.codes):
        row = _first_repeat(items.codes.astype(np.int64))
        raise FileError(
            f"{table.place(row)}: task {text_of(items.values[items.codes[row]])} occurs for the second time"
        )
    return pd.Series(table.columns[label].each, index=pd.Index(items.each, name=task), name=label)


def _frame(table: _Table, numbers: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame({name: column.each for name, column in table.columns.items()})
    for name in numbers:
        parsed = pd.to_numeric(frame[name], errors="coerce")
        if parsed.isna().any():
            row = int(parsed.isna().to_numpy().argmax())
            raise FileError(f"{table.place(row)}: column {name!r} must be a number, got {frame[name][row]!r}")
        frame[name] = parsed.astype(np.float64)
    return frame


@contextmanager
def _named_rows(table: _Table) -> Iterator[None]:
    """Turn an error about a row, or about the whole table, into an error that names the file and the line."""
    try:
        yield
    except RowError as error:
        raise FileError(f"{table.place(error.row)}: {error}") from error
    except FileError:
        raise
    except ValueError as error:
        raise FileError(f"{table.sources[0].part}: {error}") from error


class _Source(NamedTuple):
    """A file of a table, the number of its rows in the table, and the places of these rows if rows are left out."""

    part: Part
    n_rows: int
    places: NDArray[np.int64] | None
    n_skipped: int


class _Table(NamedTuple):
    """Columns by name, and the source files with their numbers of rows."""

    columns: dict[str, Numbered]
    sources: list[_Source]

    def place(self, row: int) -> str:
        """Return the text that names the file and the position of a row, counted from 0."""
        for part, n_rows, places, _ in self.sources:
            if row < n_rows:
                return place(part, row if places is None else int(places[row]))
            row -= n_rows
        raise IndexError(row)


def _read(
    path: Path,
    columns: Sequence[str],
    progress: Progress | None = None,
    form: FileForm = FOUND,
    *,
    strip: bool = False,
    skip_empty: str | None = None,
    by_number: str | None = None,
    numbers: Sequence[str] = (),
) -> _Table:
    """Return columns of a file or folder, without the rows where column `skip_empty` is empty.

    Text that says numbers is sorted by number in column `by_number`.  Text in the columns `numbers` stays text.
    """
    chunks: dict[str, list[pa.DictionaryArray]] = {name: [] for name in columns}
    sources: list[_Source] = []
    for part in parts(path, columns, form):
        n_before, n_kept, places = 0, 0, []
        for arrays in batches(part, progress):
            n_batch, kept = len(arrays[0]), None
            empty = [empty_rows(array) for array in arrays]
            if skip_empty is not None and (skipped := empty[columns.index(skip_empty)]) is not None:
                kept = np.flatnonzero(~skipped)
                arrays = [array.take(pa.array(kept, pa.int64())) for array in arrays]
                empty = [rows if rows is None else rows[kept] for rows in empty]
            if skip_empty is not None:
                places.append(n_before + (np.arange(n_batch) if kept is None else kept))
            for name, array, rows in zip(columns, arrays, empty, strict=True):
                if rows is not None and rows.any():
                    row = int(rows.argmax())
                    raise _empty_value(
                        place(part, n_before + (row if kept is None else int(kept[row]))), name, array[row]
                    )
                _check_type(part, name, array, chunks[name], sources)
                chunks[name].append(_cleaned(array) if strip else array)
            n_before += n_batch
            n_kept += len(arrays[0])
        n_skipped = n_before - n_kept
        sources.append(_Source(part, n_kept, np.concatenate(places) if n_skipped else None, n_skipped))
    if not sum(source.n_rows for source in sources):
        n_skipped = sum(source.n_skipped for source in sources)
        raise FileError(f"{path}: all {n_skipped:,} rows have no label" if n_skipped else f"{path}: no rows")
    is_typed = ending(sources[0].part.path) != ".csv"
    # Number one column at a time, so that the batches of a column are freed before the next column is built.
    return _Table(
        {
            name: numbered(chunks.pop(name), is_typed=is_typed or name in numbers, by_number=name == by_number)
            for name in columns
        },
        sources,
    )


def _empty_value(where: str, name: str, value: pa.Scalar) -> FileError:
    given = value.as_py()
    says = f" ({given!r})" if given else ""
    return FileError(f"{where}: column {name!r} is empty{says}")


def _cleaned(array: pa.DictionaryArray) -> pa.DictionaryArray:
    """Return the array with `cleaned` text; two values may become one, so the dictionary may hold a value twice."""
    if not pa.types.is_string(array.dictionary.type):
        return array
    words = pa.array([word and cleaned(word) for word in array.dictionary.to_pylist()], pa.string())
    again = words.dictionary_encode()
    return pa.DictionaryArray.from_arrays(again.indices.take(array.indices), again.dictionary)


def _check_type(
    path: Part, name: str, array: pa.DictionaryArray, before: list[pa.DictionaryArray], sources: list[_Source]
) -> None:
    if before and not go_together(before[0].type.value_type, array.type.value_type):
        there = sources[0].part if sources else path
        raise FileError(
            f"{path}: column {name!r} holds {array.type.value_type}, but {before[0].type.value_type} in {there}"
        )


def _classes(table: _Table, label: str, class_names: Sequence[Any] | None) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Return the classes in order, and the class of each row."""
    given = table.columns[label]
    if class_names is None:
        return given.values, given.codes
    names = np.asarray(class_names)
    if any(not word.strip() for word in texts(names)):
        raise ValueError("a name of a class is empty")
    if len(set(texts(names))) < len(names):
        raise ValueError(f"the classes must differ, got {', '.join(texts(names))}")
    index = lookup(names, given.values).astype(np.int32)[given.codes]
    if index.min() < 0:
        row = int(index.argmin())
        raise FileError(
            f"{table.place(row)}: column {label!r} holds {text_of(given.values[given.codes[row]])!r}, "
            f"which is not among the classes {', '.join(texts(names))}"
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
            f"{table.place(row)}: worker {text_of(worker)} labels task {text_of(item)} for the second time "
            f'({len(repeated)} repeated annotations in all); choose repeats "first", "last" or "keep"'
        )


def _first_repeat(values: NDArray[np.int64]) -> int:
    """Return the first row whose value occurs in an earlier row."""
    return int(pd.Series(values).duplicated().to_numpy().argmax())
