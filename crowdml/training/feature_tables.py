"""Read features from a table with one column of tasks and numbers in all other columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crowdml.files import FileError, FileForm, read_columns
from crowdml.files.formats import ENDINGS, Part, column_names, csv_tables, ending, place
from crowdml.files.text_stream import one_line
from crowdml.training.items import Items


def read_table(path: Path, task_column: str) -> Items:
    """Return the items of a CSV, JSON-lines, JSON or Parquet file; delimiter and encoding are found, see FileForm.

    Raises:
        FileError: the suffix is unknown, the column of tasks or every feature is missing, or a feature is not a number.
    """
    if not path.name.lower().endswith(ENDINGS):
        raise FileError(f"{path}: items come as .npy, {', '.join(ENDINGS)}, or as a folder of images")
    ids = read_columns(path, (task_column,))[task_column].to_numpy()
    names, form = column_names(Part(path, (task_column,), FileForm()))
    part = Part(path, tuple(name for name in names if name.strip() != task_column.strip()), form)
    if not part.columns:
        raise FileError(f"{path}: there is no column besides {task_column!r}; give each feature a column")
    columns = _parquet(part) if ending(path) == ".parquet" else _text(part)
    values = np.empty((len(ids), len(columns)), np.result_type(*columns))
    for at, column in enumerate(columns):
        values[:, at] = column
    return Items(str(path), ids, values, columns=tuple(name.strip() for name in part.columns))


def _text(part: Part) -> list[np.ndarray]:
    if ending(part.path) == ".csv":
        try:
            table = pa.concat_tables(csv_tables(part, pa.float64()))
        except FileError:
            pass  # the slow reader accepts more ways to write a number, and names the line
        else:
            return [_filled(part, name, column) for name, column in zip(part.columns, table.columns, strict=True)]
    frame = read_columns(part.path, part.columns, part.columns)
    return [frame[name].to_numpy() for name in part.columns]


def _parquet(part: Part) -> list[np.ndarray]:
    try:
        table = pq.read_table(part.path, columns=list(part.columns))
    except (pa.ArrowException, OSError) as error:
        raise FileError(f"{part}: cannot be read: {one_line(error)}") from error
    columns = []
    for name, column in zip(part.columns, table.columns, strict=True):
        kind = column.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise FileError(f"{part}: column {name!r} holds {kind}; features must be numbers")
        columns.append(_filled(part, name, column))
    return columns


def _filled(part: Part, name: str, column: Any) -> np.ndarray:
    if column.null_count:
        row = int(np.asarray(column.is_null()).argmax())
        raise FileError(f"{place(part, row)}: column {name!r} is empty")
    return np.asarray(column)
