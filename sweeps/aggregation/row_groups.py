"""Assign row groups of Parquet files to shards, so that one shard holds all annotations of an item.

If the item ranges in the files' footers show that no two row groups share an item, as in data sorted by item, each
shard takes whole row groups of the input.  Otherwise a hash of the item decides the shard of each row.  Then each task
that reads rows writes one file with one row group per shard.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crowdml.files import Columns
from sweeps.store.locations import LocationError, join, locate

FOOTER_READERS = 16
CHUNK_ROWS = 4_000_000
"""Number of rows that one task reads, about 100 MB of integers."""
IMBALANCE = 1.5
"""Shards take whole row groups only if the largest shard has at most this times the mean number of rows."""


class RowGroup(NamedTuple):
    """A row group of a Parquet file; `low` and `high` are its first and last item, or None if the footer lacks them."""

    path: str
    number: int
    n_rows: int
    low: Any
    high: Any


class DistinctNames(NamedTuple):
    """The distinct workers and labels of some rows, sorted."""

    workers: pa.Array
    labels: pa.Array


def list_row_groups(files: Sequence[str], columns: Columns) -> list[RowGroup]:
    """Return the row groups that have rows; only the files' footers are read.

    Raises:
        LocationError: a file cannot be read, lacks a column, or has a column of another type than the first file.
    """
    with ThreadPoolExecutor(FOOTER_READERS) as pool:
        footers = list(pool.map(lambda path: _read_footer(path, columns), files))
    for path, (kinds, _) in zip(files, footers, strict=True):
        for name, kind, first in zip(astuple(columns), kinds, footers[0][0], strict=True):
            if kind != first:
                raise LocationError(f"{path}: column {name!r} holds {kind}, but {first} in {files[0]}")
    groups = [group for _, of_file in footers for group in of_file if group.n_rows]
    if not groups:
        raise LocationError(f"{files[0]}: a crowd needs at least one annotation, got none")
    return groups


def assign_whole(groups: Sequence[RowGroup], n_shards: int) -> list[list[RowGroup]] | None:
    """Assign whole row groups to shards; return the row groups of each shard in the given order.

    Return None if an item would be in two shards, or if the shards would be too uneven.
    """
    if n_shards == 1:
        return [list(groups)]
    if any(group.low is None for group in groups):
        return None
    by_item = sorted(range(len(groups)), key=lambda at: (groups[at].low, groups[at].high))
    share = sum(group.n_rows for group in groups) / n_shards
    shards: list[list[int]] = [[] for _ in range(n_shards)]
    high, shard, n_before = None, 0, 0
    for at in by_item:
        group = groups[at]
        if high is None or group.low > high:
            shard = min(int((n_before + group.n_rows / 2) / share), n_shards - 1)
            high = group.high
        high = max(high, group.high)
        shards[shard].append(at)
        n_before += group.n_rows
    sizes = [sum(groups[at].n_rows for at in shard) for shard in shards]
    if min(sizes) == 0 or max(sizes) > IMBALANCE * share:
        return None
    return [[groups[at] for at in sorted(shard)] for shard in shards]


def chunks(groups: Sequence[RowGroup]) -> list[list[RowGroup]]:
    """Return the row groups in chunks of about CHUNK_ROWS rows, one chunk per task."""
    chunked: list[list[RowGroup]] = [[]]
    n_rows = 0
    for group in groups:
        if chunked[-1] and n_rows + group.n_rows > CHUNK_ROWS:
            chunked.append([])
            n_rows = 0
        chunked[-1].append(group)
        n_rows += group.n_rows
    return chunked


def distinct_names(groups: Sequence[RowGroup], columns: Columns) -> DistinctNames:
    """Return the distinct workers and labels of some row groups; raises the errors of `read`."""
    return merge_names([_distinct_names(read(group, columns), columns) for group in groups])


def split_by_item(
    groups: Sequence[RowGroup], columns: Columns, n_shards: int, folder: str, number: int
) -> tuple[DistinctNames, list[RowGroup]]:
    """Write the rows of some row groups to one file with one row group per shard.

    The number names the file.  Return the distinct names of the rows, and the row group of each shard (n_shards,).
    """
    table = pa.concat_tables([read(group, columns) for group in groups])
    shard = _shard_of(table[columns.task], n_shards)
    # A stable sort keeps the order of an item's annotations.
    table = table.take(np.argsort(shard, kind="stable"))
    ends = np.cumsum(np.bincount(shard, minlength=n_shards))
    path = join(folder, f"part-{number:05}.parquet")
    filesystem, inside = locate(path)
    # If Ray repeats this task, it writes the same bytes again; nobody reads the file before the task ends.
    with pq.ParquetWriter(inside, table.schema, filesystem=filesystem) as writer:
        for first, last in zip([0, *ends[:-1]], ends, strict=True):
            writer.write_table(table.slice(first, last - first), row_group_size=max(last - first, 1))
    sizes = np.diff(ends, prepend=0).tolist()
    return _distinct_names(table, columns), [RowGroup(path, at, size, None, None) for at, size in enumerate(sizes)]


def read(group: RowGroup, columns: Columns) -> pa.Table:
    """Return the annotations of a row group, with integers as int64 and text as large_string.

    Raises:
        LocationError: the file cannot be read, or a column has empty values.
    """
    filesystem, inside = locate(group.path)
    try:
        with pq.ParquetFile(inside, filesystem=filesystem) as file:
            table = file.read_row_group(group.number, columns=list(astuple(columns)))
    except (pa.ArrowException, OSError) as error:
        raise LocationError(f"cannot read {group.path}: {error}") from error
    for name in astuple(columns):
        if table[name].null_count:
            raise LocationError(f"{group.path}: column {name!r} has {table[name].null_count} empty values")
    schema = pa.schema([(name, common_type(table.schema.field(name).type)) for name in astuple(columns)])
    return table.select(schema.names).cast(schema)


def merge_names(parts: Sequence[DistinctNames]) -> DistinctNames:
    """Return the distinct workers and labels of all parts together."""
    return DistinctNames(_sorted([part.workers for part in parts]), _sorted([part.labels for part in parts]))


def common_type(given: pa.DataType) -> pa.DataType:
    """Return int64 for integers (but uint64 for uint64), large_string for text, and the value type of a dictionary."""
    if pa.types.is_dictionary(given):
        return common_type(given.value_type)
    if pa.types.is_integer(given) and not pa.types.is_uint64(given):
        return pa.int64()
    return pa.large_string() if pa.types.is_string(given) or pa.types.is_string_view(given) else given


def _read_footer(path: str, columns: Columns) -> tuple[list[pa.DataType], list[RowGroup]]:
    filesystem, inside = locate(path)
    try:
        with pq.ParquetFile(inside, filesystem=filesystem) as file:
            schema, metadata = file.schema_arrow, file.metadata
    except (pa.ArrowException, OSError) as error:
        raise LocationError(f"cannot read {path}: {error}") from error
    for name in astuple(columns):
        if schema.names.count(name) != 1:
            raise LocationError(f"{path}: column {name!r} is missing; the file has {', '.join(schema.names)}")
    groups = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        column = next(at for at in range(group.num_columns) if group.column(at).path_in_schema == columns.task)
        items = group.column(column).statistics
        low, high = (items.min, items.max) if items is not None and items.has_min_max else (None, None)
        groups.append(RowGroup(path, number, group.num_rows, low, high))
    return [common_type(schema.field(name).type) for name in astuple(columns)], groups


def _distinct_names(table: pa.Table, columns: Columns) -> DistinctNames:
    return DistinctNames(_sorted(table[columns.worker].chunks), _sorted(table[columns.label].chunks))


def _sorted(parts: Sequence[pa.Array]) -> pa.Array:
    """Return the distinct values of all parts, sorted."""
    values = pa.concat_arrays(parts).unique()
    return values.take(pc.sort_indices(values))


def _shard_of(items: pa.ChunkedArray, n_shards: int) -> np.ndarray:
    """Return (n_rows,) the shard of each row, which is the same in every process."""
    encoded = items.combine_chunks().dictionary_encode()
    hashed = pd.util.hash_array(encoded.dictionary.to_numpy(zero_copy_only=False), categorize=False)
    return (hashed % np.uint64(n_shards)).astype(np.int64)[encoded.indices.to_numpy()]
