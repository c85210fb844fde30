"""The files of a results folder: Parquet parts that are written once, checked at each reading, and never changed.

The name of a part holds the id of the run that wrote it and a hash of its content, which reveals a truncated or changed
file.  Such a damaged part raises DamagedPartError; storage that cannot be reached raises ResultsError.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from sweeps.store.damaged_rows import DamagedRow, row_faults
from sweeps.store.locations import LocationError
from sweeps.store.schema import ABSENT

_N_READERS = 8
_NAME = re.compile(r"part-\d{20}-(?P<writer>.+)-(?P<hash>[0-9a-f]{16})\.parquet")
NO_RUN = "no-run"
"""The run id in the name of a part that no run wrote, such as a part from a compaction."""


class ResultsError(LocationError):
    """A results folder cannot be used; the message says why and what to do."""


class DamagedPartError(ResultsError):
    """A part differs from what was written; `path` is the path of the part in its file system."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return (
            f"cannot read {self.path}: {self.reason}; `crowdml results verify RESULTS --repair` moves damaged files "
            "aside, and the next run of the sweep computes their cells again"
        )


@dataclass(frozen=True)
class Part:
    """A file of a table: its path in the file system, and its size in bytes."""

    path: str
    size: int | None

    @property
    def name(self) -> str:
        """The file name, which is unique in its results folder."""
        return self.path.rpartition("/")[2]

    @property
    def writer(self) -> str | None:
        """The id of the run that wrote the part, or NO_RUN; None if the name has another form."""
        match = _NAME.fullmatch(self.name)
        return match and match["writer"]


def list_parts(filesystem: fs.FileSystem, folder: str) -> list[Part]:
    """Return the parts in a folder, sorted by name, which is roughly the order of writing.

    The size of a part is None if it is a folder, a pipe or another thing that is no file.
    """
    infos = filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    parts = [info for info in infos if info.base_name.startswith("part-") and info.extension == "parquet"]
    return [
        Part(info.path, info.size if info.type == fs.FileType.File else None)
        for info in sorted(parts, key=lambda info: info.base_name)
    ]


def encode(rows: pa.Table, writer: str | None = None) -> tuple[str, pa.Buffer]:
    """Return the name and the content of a new part; `writer` is the id of the run that writes it, or None."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, write_page_checksum=True, compression="zstd")
    content = sink.getvalue()
    return f"part-{time.time_ns():020d}-{writer or NO_RUN}-{_hash(content)}.parquet", content


def read_part(filesystem: fs.FileSystem, path: str, schema: pa.Schema, *, exactly: bool = False) -> pa.Table:
    """Read the columns of a schema from one part; an axis that the part lacks gets its default value.

    Args:
        exactly: refuse a part with other columns, which would be lost if the caller rewrites the rows.

    Raises:
        FileNotFoundError: the part is gone, because a compaction has moved its rows to another part.
        DamagedPartError: the content differs from what was written.
        ResultsError: the part cannot be reached, or has columns that this version of crowdml does not know.
    """
    try:
        with filesystem.open_input_file(path) as stream:
            content = stream.read_buffer()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error}") from error
    match = _NAME.fullmatch(path.rpartition("/")[2])
    if match is None:
        raise DamagedPartError(path, "its name is not the name of a part")
    if match["hash"] != _hash(content):
        raise DamagedPartError(path, f"its {content.size} bytes differ from the bytes that were written")
    try:
        return _decode(content, path, schema, exactly=exactly)
    except ResultsError:
        raise
    except (OSError, pa.ArrowException, ValueError, KeyError, MemoryError) as error:
        raise DamagedPartError(path, " ".join(str(error).split())) from error


def read_parts(
    filesystem: fs.FileSystem,
    parts: Sequence[Part],
    schema: pa.Schema,
    *,
    skip: Callable[[DamagedPartError], None] | None = None,
    skip_rows: Callable[[Part, list[DamagedRow]], None],
) -> pa.Table:
    """Read the columns of a schema from several parts into one table, without damaged rows.

    Args:
        parts: the parts, in the order of their rows in the result.
        skip: called with the error of each damaged part, whose rows are left out; None raises the error instead.
        skip_rows: called with each part that has damaged rows, and with these rows.

    Raises:
        FileNotFoundError, DamagedPartError, ResultsError: see `read_part`.
    """

    def read_one(part: Part) -> pa.Table | DamagedPartError:
        try:
            return read_part(filesystem, part.path, schema)
        except DamagedPartError as error:
            if skip is None:
                raise
            return error

    if len(parts) < 2:
        read_all = [read_one(part) for part in parts]
    else:
        with ThreadPoolExecutor(_N_READERS) as pool:
            read_all = list(pool.map(read_one, parts))
    for damaged in read_all:
        if isinstance(damaged, DamagedPartError) and skip is not None:
            skip(damaged)
    read = [(part, table) for part, table in zip(parts, read_all, strict=True) if isinstance(table, pa.Table)]
    if not read:
        return schema.empty_table()
    # One check of all rows is faster than one check per part.
    rows, damaged_rows = sound_rows(pa.concat_tables([table for _, table in read]), [(p.path, len(t)) for p, t in read])
    for part, _ in read:
        if part.path in damaged_rows:
            skip_rows(part, damaged_rows[part.path])
    return rows


def sound_rows(rows: pa.Table, sizes: Sequence[tuple[str, int]]) -> tuple[pa.Table, dict[str, list[DamagedRow]]]:
    """Return the rows that are not damaged, and path of a part -> its damaged rows.

    Args:
        rows: the rows of several parts.
        sizes: path and number of rows of each part, in the order of the rows.
    """
    faults = row_faults(rows)
    if not faults:
        return rows, {}
    ends = np.cumsum([n_rows for _, n_rows in sizes])
    damaged: dict[str, list[DamagedRow]] = {}
    for index, reason in faults.items():
        at = int(np.searchsorted(ends, index, side="right"))
        path, n_rows = sizes[at]
        damaged.setdefault(path, []).append(DamagedRow(path, index - int(ends[at]) + n_rows + 1, reason))
    keep = np.ones(rows.num_rows, bool)
    keep[list(faults)] = False
    return rows.filter(pa.array(keep)), damaged


def _decode(content: pa.Buffer, path: str, schema: pa.Schema, *, exactly: bool) -> pa.Table:
    file = pq.ParquetFile(pa.BufferReader(content))
    names = file.schema_arrow.names
    lacking = [name for name in schema.names if name not in names]
    never = [name for name in lacking if name not in ABSENT]
    if never:
        raise DamagedPartError(path, f"it lacks the columns {', '.join(never)}")
    unknown = sorted(set(names) - set(schema.names))
    if exactly and unknown:
        raise ResultsError(
            f"{path} has columns that this version of crowdml does not know ({', '.join(unknown)}); use the version "
            "that wrote it"
        )
    table = file.read([name for name in schema.names if name in names])
    for name in lacking:
        value = pa.scalar(ABSENT[name], schema.field(name).type)
        table = table.append_column(name, pa.repeat(value, table.num_rows))
    return table.select(schema.names).cast(schema)


def _hash(content: pa.Buffer) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
