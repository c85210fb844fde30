"""Places of files: a path of this machine, or a URI such as s3://bucket/folder or gs://bucket/folder."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from sweeps.store.scrubbing import scrub


class LocationError(ValueError):
    """A place that cannot be read or written, with the reason."""


def locate(location: str | Path) -> tuple[fs.FileSystem, str]:
    """The file system of a location, and the path in it.

    Raises:
        LocationError: a URI of a kind that pyarrow does not know.
    """
    if "://" not in str(location):
        return fs.LocalFileSystem(), os.path.abspath(location)
    try:
        filesystem, path = fs.FileSystem.from_uri(str(location))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise LocationError(scrub(f"cannot open {location}: {error}")) from error
    return filesystem, path.rstrip("/")


def is_local(location: str | Path) -> bool:
    """Whether it lies on a file system of this machine."""
    return "://" not in str(location) or str(location).startswith("file://")


def join(location: str | Path, name: str) -> str:
    """A file or folder in a folder, named as another process, with another working directory, has to name it."""
    if is_local(location):
        return f"{locate(location)[1]}/{name}"
    base, question, query = str(location).partition("?")
    return f"{base.rstrip('/')}/{name}{question}{query}"


def parquet_files(locations: Sequence[str | Path]) -> list[str]:
    """The Parquet files at the locations, each a file or a folder, in the order of their names; hidden ones left out.

    Raises:
        LocationError: a location that is not there, cannot be reached, or holds no Parquet file.
    """
    return [name for location in locations for name in _files_at(location)]


def is_empty(location: str | Path) -> bool:
    """Whether nothing is at the location yet, or an empty folder."""
    filesystem, path = locate(location)
    if filesystem.get_file_info(path).type == fs.FileType.File:
        return False
    return not filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))


def write_parquet(table: pa.Table, location: str | Path) -> None:
    """Write one file, whole or not at all, in the place of one that may be there."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    put(*locate(location), sink.getvalue())


def put(filesystem: fs.FileSystem, path: str, content: bytes | pa.Buffer) -> None:
    """Write one file, whole or not at all, in the place of one that may be there.

    Args:
        filesystem, path: of `locate`.
        content: of the file.

    Raises:
        OSError: it cannot be written; nothing of it is left.
    """
    if isinstance(filesystem, fs.LocalFileSystem):
        _put_local(Path(path), content)
        return
    # An object store shows an object when its upload is complete.
    with filesystem.open_output_stream(path) as stream:
        stream.write(content)


def _put_local(path: Path, content: bytes | pa.Buffer) -> None:
    """Temporary file on the same file system, fsync, rename, fsync of the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _files_at(location: str | Path) -> list[str]:
    filesystem, path = locate(location)
    try:
        if filesystem.get_file_info(path).type == fs.FileType.File:
            return [path if is_local(location) else str(location)]
        infos = filesystem.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    except OSError as error:
        raise LocationError(scrub(f"cannot read {location}: {error}")) from error
    paths = (info.path[len(path) + 1 :] for info in infos if info.type == fs.FileType.File)
    names = sorted(name for name in paths if name.endswith(".parquet") and not _is_hidden(name))
    if not names:
        raise LocationError(f"{scrub(str(location))} is not there, or holds no .parquet files")
    return [join(location, name) for name in names]


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in name.split("/"))
