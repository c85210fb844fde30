"""Locations of files: a path on this machine, or a URI such as s3://bucket/folder or gs://bucket/folder."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from crowdml.support.whole_file import whole_file
from sweeps.store.scrubbing import scrub


class LocationError(ValueError):
    """A location cannot be read or written; the message says why."""


def locate(location: str | Path) -> tuple[fs.FileSystem, str]:
    """Return the file system of a location and the path in that file system.

    Raises:
        LocationError: pyarrow cannot open the URI.
    """
    if "://" not in str(location):
        return fs.LocalFileSystem(), os.path.abspath(location)
    try:
        filesystem, path = fs.FileSystem.from_uri(str(location))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise LocationError(scrub(f"cannot open {location}: {error}")) from error
    return filesystem, path.rstrip("/")


def is_local(location: str | Path) -> bool:
    """Return whether a location lies on a file system of this machine."""
    return "://" not in str(location) or str(location).startswith("file://")


def join(location: str | Path, name: str) -> str:
    """Return the location of a file or folder inside a folder.

    A local result is absolute, so that a process with another working directory can use it.
    """
    if is_local(location):
        return f"{locate(location)[1]}/{name}"
    base, question, query = str(location).partition("?")
    return f"{base.rstrip('/')}/{name}{question}{query}"


def parquet_files(locations: Sequence[str | Path]) -> list[str]:
    """Return the given files, and the Parquet files anywhere in the given folders, by name and without hidden files.

    Raises:
        LocationError: a location does not exist, cannot be reached, or holds no Parquet file.
    """
    return [name for location in locations for name in _files_at(location)]


def is_empty(location: str | Path) -> bool:
    """Return whether a location does not exist, or is an empty folder."""
    filesystem, path = locate(location)
    if filesystem.get_file_info(path).type == fs.FileType.File:
        return False
    return not filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))


def write_parquet(table: pa.Table, location: str | Path) -> None:
    """Write a table as one Parquet file, whole or not at all; replace an existing file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    put(*locate(location), sink.getvalue())


def put(filesystem: fs.FileSystem, path: str, content: bytes | pa.Buffer) -> None:
    """Write one file, whole or not at all; replace an existing file.

    `filesystem` and `path` come from `locate`.  A local file is on the disk at return; a missing folder is created.

    Raises:
        OSError: the file cannot be written; no part of it remains.
    """
    if isinstance(filesystem, fs.LocalFileSystem):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with whole_file(path, durable=True) as temporary:
            temporary.write_bytes(content)
        return
    # An object store shows an object only when its upload is complete.
    with filesystem.open_output_stream(path) as stream:
        stream.write(content)


def _files_at(location: str | Path) -> list[str]:
    filesystem, path = locate(location)
    try:
        if filesystem.get_file_info(path).type == fs.FileType.File:
            return [path if is_local(location) else str(location)]
        infos = filesystem.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    except OSError as error:
        raise LocationError(scrub(f"cannot read {location}: {error}")) from error
    paths = (info.path[len(path) + 1 :] for info in infos if info.type == fs.FileType.File)
    names = sorted(name for name in paths if name.endswith(".parquet") and not re.search(r"(^|/)[._]", name))
    if not names:
        raise LocationError(f"{scrub(str(location))} does not exist, or holds no .parquet files")
    return [join(location, name) for name in names]
