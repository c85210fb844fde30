"""The results of a sweep: a folder of Parquet, local or in an object store, that many processes write and read.

    RESULTS/crowdml.json            the schema version
    RESULTS/cells/*.parquet         one row a computed cell
    RESULTS/curves/*.parquet        learning curves
    RESULTS/workers/*.parquet       true and estimated quality of each worker
    RESULTS/damaged/                what `verify --repair` moved aside

Whoever computed cells writes them, as one new file a table under a unique name, the `cells` file last; nothing is
ever changed in place.  So a reader sees a cell whole or not at all, and a lost driver loses nothing.  Imports no ray.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
from pyarrow import fs

from crowdml.experiment.result import CellResult
from sweeps.store.attempts import RANK_COLUMNS, best_attempts, distinct, only
from sweeps.store.locations import LocationError, locate, put
from sweeps.store.parts import DamagedPartError, Part, ResultsError, encode, list_parts, read_part, read_parts
from sweeps.store.provenance import Provenance
from sweeps.store.schema import SCHEMA_VERSION, TABLES, to_tables
from sweeps.store.scrubbing import scrub

__all__ = ["MARKER", "DamagedPartError", "ResultStore", "ResultsError"]

MARKER = "crowdml.json"
_READ_TRIES = 10


class ResultStore:
    """A results folder.

    Args:
        location: a local path, or a URI such as s3://bucket/folder or gs://bucket/folder.
        damaged: what a damaged file does to whoever reads: "error" raises DamagedPartError; "skip" takes its rows as
            not there, for a run that computes them again, and `damaged_parts` has it from then on.

    Raises:
        ResultsError: the folder holds another schema version, is not a results folder, or cannot be reached.
    """

    def __init__(self, location: str | Path, *, damaged: Literal["error", "skip"] = "error") -> None:
        self.location = str(location)
        self._damaged: dict[str, DamagedPartError] | None = {} if damaged == "skip" else None
        try:
            self._filesystem, self._root = locate(self.location)
        except LocationError as error:
            raise ResultsError(scrub(f"cannot open results folder {self.location}: {error.__cause__}")) from error
        self._check_marker()

    @property
    def is_local(self) -> bool:
        """Whether the results lie on a file system of this machine."""
        return isinstance(self._filesystem, fs.LocalFileSystem)

    @property
    def absolute_location(self) -> str:
        """The location as another process, with another working directory, has to name it."""
        return self._root if self.is_local else self.location

    @property
    def public_location(self) -> str:
        """The location for messages, without the keys that a URI may hold."""
        return scrub(self.location)

    @property
    def damaged_parts(self) -> list[DamagedPartError]:
        """The damaged files that were left out of what was read so far, each once."""
        return list((self._damaged or {}).values())

    def location_of(self, folder: str) -> str:
        """A folder in the results folder, as another process has to name it."""
        base, question, query = self.location.partition("?") if not self.is_local else (self._root, "", "")
        return f"{base.rstrip('/')}/{folder}{question}{query}"

    def exists(self) -> bool:
        """Whether the folder and its marker are there."""
        return self._read_marker() is not None

    # ------------------------------------------------------------------------------------------------- writing

    def create(self) -> None:
        """Make the folder and its marker, if they are not there.

        Raises:
            ResultsError: it cannot be written.
        """
        try:
            self._filesystem.create_dir(self._path(), recursive=True)
        except OSError as error:
            raise self._cannot_write(error) from error
        if self._read_marker() is None:
            self._put(MARKER, json.dumps({"schema_version": SCHEMA_VERSION}).encode())
        probe = f".probe-{uuid.uuid4().hex}"
        self._put(probe, b"")
        self.delete(self._path(probe))

    def write(self, results: Sequence[CellResult], provenance: Provenance) -> None:
        """Add results, atomically: one new file for each table that has rows.

        Raises:
            ResultsError: a full disk, a folder that may not be written, or a place that cannot be reached.
        """
        if not results:
            return
        attempts = [uuid.uuid4().hex[:12] for _ in results]
        tables = to_tables(results, attempts, provenance)
        for table in ("curves", "workers", "cells"):
            self.write_rows(table, tables[table])

    def discard(self, folder: str) -> None:
        """Delete a folder in the results folder, if it is there."""
        with suppress(FileNotFoundError):
            self._filesystem.delete_dir(self._path(folder))

    # ------------------------------------------------------------------------------------------------- reading

    def status(self) -> dict[str, str]:
        """Cell id -> "ok" or "failed", the best attempt of each cell."""
        best = best_attempts(self.read_rows("cells", RANK_COLUMNS))
        return _as_dict(best["cell_id"], best["status"])

    def attempts(self) -> dict[str, str]:
        """Attempt -> cell id, of every attempt recorded."""
        rows = self.read_rows("cells", ["cell_id", "attempt"])
        return _as_dict(rows["attempt"], rows["cell_id"])

    def read_cells(self) -> pd.DataFrame:
        """One row a cell, its best attempt: ok before failed, then the newest.

        Raises:
            DamagedPartError: a file is damaged, and the store was not opened with damaged="skip".
            ResultsError: a file cannot be reached.
        """
        return best_attempts(self.read_rows("cells")).to_pandas()

    def read(self, table: str) -> pd.DataFrame:
        """A table of TABLES, the rows of each cell's best attempt only.

        Raises:
            DamagedPartError, ResultsError: as `read_cells`.
        """
        if table == "cells":
            return self.read_cells()
        best = best_attempts(self.read_rows("cells", RANK_COLUMNS))["attempt"].combine_chunks()
        return distinct(only(self.read_rows(table), best)).to_pandas()

    def read_rows(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Every row of a table, of all attempts; a row may be met twice while a compaction runs.

        Args:
            table: of TABLES.
            columns: those wanted; None is all.

        Raises:
            DamagedPartError, ResultsError: as `read_cells`.
        """
        schema = TABLES[table] if columns is None else pa.schema([TABLES[table].field(name) for name in columns])
        for attempt in range(_READ_TRIES):
            # A compaction may delete what was just listed; its rows are in a newer part then.
            with suppress(FileNotFoundError):
                skip = None if self._damaged is None else self._skip
                return read_parts(self._filesystem, self.parts(table), schema, skip=skip)
            time.sleep(0.01 * 2**attempt)
        raise ResultsError(f"files of {self.public_location}/{table} vanish while they are read; who deletes them?")

    # ------------------------------------------------------------------------------------------------- files

    def parts(self, table: str) -> list[Part]:
        """The files of a table."""
        try:
            return list_parts(self._filesystem, self._path(table))
        except OSError as error:
            raise ResultsError(f"cannot read results folder {self.public_location}: {error}") from error

    def read_part(self, table: str, part: Part) -> pa.Table:
        """Every row of one file; see `sweeps.store.parts.read_part` for what it raises."""
        return read_part(self._filesystem, part.path, TABLES[table], exactly=True)

    def write_rows(self, table: str, rows: pa.Table) -> None:
        """Add one file with these rows, all the rows that an attempt has in that table; none if there are no rows.

        Raises:
            ResultsError: as `write`.
        """
        if rows.num_rows:
            name, content = encode(rows)
            self._put(f"{table}/{name}", content)

    def delete(self, path: str) -> None:
        """Delete a file of the folder, if it is there."""
        try:
            self._filesystem.delete_file(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._cannot_write(error) from error

    def set_aside(self, path: str) -> str:
        """Move a file of the folder to RESULTS/damaged/; returns its new path."""
        table, name = path.split("/")[-2:]
        target = self._path(f"damaged/{table}-{name}")
        try:
            self._filesystem.create_dir(self._path("damaged"), recursive=True)
            self._filesystem.move(path, target)
        except OSError as error:
            raise self._cannot_write(error) from error
        return target

    def unfinished(self) -> list[fs.FileInfo]:
        """What interrupted writes left, or running ones have not finished: hidden temporary files."""
        found = [
            info
            for folder in ("", *TABLES)
            for info in self._filesystem.get_file_info(fs.FileSelector(self._path(folder), allow_not_found=True))
        ]
        marks = (".part-", ".probe-", "..probe-", f".{MARKER}.")
        return [info for info in found if info.type == fs.FileType.File and info.base_name.startswith(marks)]

    def _path(self, name: str = "") -> str:
        return f"{self._root}/{name}".rstrip("/")

    def _put(self, name: str, content: bytes | pa.Buffer) -> None:
        try:
            put(self._filesystem, self._path(name), content)
        except OSError as error:
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: OSError) -> ResultsError:
        return ResultsError(
            f"cannot write results to {self.public_location}: {error}; what was written before is whole, and the same "
            "command goes on from there"
        )

    def _skip(self, part: DamagedPartError) -> None:
        assert self._damaged is not None
        self._damaged.setdefault(part.path, part)

    def _read_marker(self) -> int | None:
        try:
            with self._filesystem.open_input_stream(self._path(MARKER)) as stream:
                return int(json.loads(stream.read())["schema_version"])
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ResultsError(f"cannot read results folder {self.public_location}: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ResultsError(
                f"{self.public_location}/{MARKER} is not a marker of a results folder: {error}"
            ) from error

    def _check_marker(self) -> None:
        try:
            info = self._filesystem.get_file_info(self._path())
        except OSError as error:
            raise ResultsError(f"cannot reach results folder {self.public_location}: {error}") from error
        if info.type == fs.FileType.File:
            raise ResultsError(f"results folder {self.public_location} is a file; give a folder")
        version = self._read_marker()
        if version is not None and version != SCHEMA_VERSION:
            raise ResultsError(
                f"results folder {self.public_location} has schema version {version}, this crowdml writes "
                f"{SCHEMA_VERSION}; give another --results folder, or read it with the crowdml that wrote it"
            )
        if version is None and info.type == fs.FileType.Directory:
            try:
                content = self._filesystem.get_file_info(fs.FileSelector(self._path()))
            except OSError as error:
                raise ResultsError(f"cannot read results folder {self.public_location}: {error}") from error
            # A driver that makes the folder at this moment has a temporary file there.
            if any(not entry.base_name.startswith(".") for entry in content):
                raise ResultsError(
                    f"{self.public_location} holds other files and no {MARKER}; give a new folder or a results folder"
                )


def _as_dict(keys: pa.ChunkedArray, values: pa.ChunkedArray) -> dict[str, str]:
    return dict(zip(map(str, keys.to_pylist()), map(str, values.to_pylist()), strict=True))
