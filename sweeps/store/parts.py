"""The files of a results folder: Parquet parts that are written once, checked whenever they are read, never changed.

A part's name ends with a hash of its content, and its pages have checksums, so that a truncated or changed file is
known for one: it is damaged, which is another thing than a place that cannot be reached.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from sweeps.store.locations import LocationError
from sweeps.store.schema import ABSENT

_N_READERS = 8
# Parts of older releases end with eight random digits instead of the hash.
_HASHED_NAME = re.compile(r"part-\d{20}-([0-9a-f]{16})\.parquet")


class ResultsError(LocationError):
    """A results folder that cannot be used, with the reason and the way out."""


class DamagedPartError(ResultsError):
    """A part that can be reached, and whose content is not what was written.

    Args:
        path: of the part, in its file system.
        reason: what is wrong with it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"cannot read {path}: {reason}; `crowdml results verify RESULTS --repair` moves damaged files aside, and "
            "the sweep run again computes their cells"
        )
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type[DamagedPartError], tuple[str, str]]:
        return type(self), (self.path, self.reason)


@dataclass(frozen=True)
class Part:
    """A file of a table: its path in the file system, and its size in bytes."""

    path: str
    size: int


def list_parts(filesystem: fs.FileSystem, folder: str) -> list[Part]:
    """The parts in a folder, by name, which is about the order in which they were written."""
    infos = filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    parts = [info for info in infos if info.base_name.startswith("part-") and info.extension == "parquet"]
    return [Part(info.path, info.size) for info in sorted(parts, key=lambda info: info.base_name)]


def encode(rows: pa.Table) -> tuple[str, pa.Buffer]:
    """The name and the content of a new part."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, write_page_checksum=True, compression="zstd")
    content = sink.getvalue()
    return f"part-{time.time_ns():020d}-{_hash(content)}.parquet", content


def read_part(filesystem: fs.FileSystem, path: str, schema: pa.Schema, *, exactly: bool = False) -> pa.Table:
    """The columns of a schema from one part; an axis that the part lacks is at its default.

    Args:
        filesystem: where it is.
        path: of the part.
        schema: of the columns wanted.
        exactly: refuse a part with more columns than that; for whoever writes the rows again and deletes the part.

    Raises:
        FileNotFoundError: it is gone; a compaction has put its rows into another part.
        DamagedPartError: its content is not what was written.
        ResultsError: it cannot be reached, or has columns that this release does not know.
    """
    try:
        with filesystem.open_input_file(path) as stream:
            content = stream.read_buffer()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error}") from error
    hashed = _HASHED_NAME.fullmatch(path.rpartition("/")[2])
    if hashed and hashed.group(1) != _hash(content):
        raise DamagedPartError(path, f"its {content.size} bytes are not those that were written")
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
) -> pa.Table:
    """The columns of a schema from several parts, one after the other.

    Args:
        filesystem: where they are.
        parts: which.
        schema: of the columns wanted.
        skip: called with each damaged part, whose rows are then left out; None raises instead.

    Raises:
        FileNotFoundError, DamagedPartError, ResultsError: as `read_part`.
    """

    def read(part: Part) -> pa.Table | DamagedPartError:
        try:
            return read_part(filesystem, part.path, schema)
        except DamagedPartError as error:
            if skip is None:
                raise
            return error

    with ThreadPoolExecutor(_N_READERS) as pool:
        read_all = list(pool.map(read, parts))
    tables = [table for table in read_all if isinstance(table, pa.Table)]
    for damaged in read_all:
        if isinstance(damaged, DamagedPartError) and skip is not None:
            skip(damaged)
    return pa.concat_tables(tables) if tables else schema.empty_table()


def is_hashed(path: str) -> bool:
    """Whether a part's name holds the hash of its content; older releases wrote names without."""
    return _HASHED_NAME.fullmatch(path.rpartition("/")[2]) is not None


def _decode(content: pa.Buffer, path: str, schema: pa.Schema, *, exactly: bool) -> pa.Table:
    file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
    names = file.schema_arrow.names
    lacking = [name for name in schema.names if name not in names]
    never = [name for name in lacking if name not in ABSENT]
    if never:
        raise DamagedPartError(path, f"it lacks the columns {', '.join(never)}")
    unknown = sorted(set(names) - set(schema.names))
    if exactly and unknown:
        raise ResultsError(
            f"{path} has columns that this crowdml does not know ({', '.join(unknown)}); use the one that wrote it"
        )
    table = file.read([name for name in schema.names if name in names])
    for name in lacking:
        value = pa.scalar(ABSENT[name], schema.field(name).type)
        table = table.append_column(name, pa.repeat(value, table.num_rows))
    return table.select(schema.names).cast(schema)


def _hash(content: pa.Buffer) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
