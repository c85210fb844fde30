"""Read features from a table with one column of tasks and numbers in all other columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from crowdml.files import FileError, read_columns
from crowdml.files.faults import csv_header
from crowdml.files.form import FOUND
from crowdml.training.items import Items


def read_table(path: Path, task_column: str) -> Items:
    """Return the items of a .csv, .csv.gz or .parquet file.

    Raises:
        FileError: the suffix is unknown, the column of tasks or every feature is missing, or a feature is not a number.
    """
    name = path.name.lower()
    if not name.endswith((".csv", ".csv.gz", ".parquet")):
        raise FileError(f"{path}: items come as .npy, .csv, .csv.gz or .parquet, or as a folder of images")
    ids = read_columns(path, (task_column,))[task_column].to_numpy()
    try:
        table = _parquet(path, task_column) if name.endswith(".parquet") else _csv(path, task_column)
    except (pa.ArrowException, OSError, EOFError) as error:
        raise FileError(f"{path}: features must be numbers: {' '.join(str(error).split())}") from error
    if not table.num_columns:
        raise FileError(f"{path}: there is no column besides {task_column!r}; give each feature a column")
    columns = [_numbers(path, feature, table.column(feature)) for feature in table.column_names]
    values = np.empty((len(ids), table.num_columns), np.result_type(*columns))
    for place, column in enumerate(columns):
        values[:, place] = column
    return Items(str(path), ids, values, columns=tuple(table.column_names))


def _csv(path: Path, task_column: str) -> pa.Table:
    features = [name for name in csv_header(path, FOUND)[0] if name != task_column]
    types = dict.fromkeys(features, pa.float64())
    options = pyarrow.csv.ConvertOptions(column_types=types, include_columns=features)
    return pyarrow.csv.read_csv(path, convert_options=options)


def _parquet(path: Path, task_column: str) -> pa.Table:
    schema = pq.read_schema(path)
    return pq.read_table(path, columns=[name for name in schema.names if name != task_column])


def _numbers(path: Path, feature: str, column: pa.ChunkedArray) -> np.ndarray:
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise FileError(f"{path}: column {feature!r} holds {kind}; features must be numbers")
    if column.null_count:
        row = int(np.asarray(column.is_null()).argmax())
        raise FileError(f"{path}: column {feature!r} is empty in row {row + 1}")
    return np.asarray(column)
