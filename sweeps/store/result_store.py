"""The results of a sweep: a folder of Parquet files, local or in an object store, that many processes write and read.

    RESULTS/crowdml.json            the schema version
    RESULTS/cells/*.parquet         one row per attempt to compute a cell
    RESULTS/curves/*.parquet        learning curves
    RESULTS/workers/*.parquet       true and estimated quality of each worker
    RESULTS/damaged/                files that `verify --repair` moved aside

The process that computes cells writes their results: one new file per table, with a unique name, the `cells` file last.
No file is ever changed.  So a reader sees all of a cell or nothing of it, and a crash of the driver loses nothing.
"""

from __future__ import annotations

import json
import time
import uuid
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
from pyarrow import fs

from crowdml.experiment.result import CellResult
from crowdml.support.printable import printable
from sweeps.store.attempts import best_attempts, distinct, only
from sweeps.store.damaged_rows import DamagedRow
from sweeps.store.locations import LocationError, locate, put
from sweeps.store.parts import (
    DamagedPartError,
    Part,
    ResultsError,
    encode,
    list_parts,
    read_part,
    read_parts,
    sound_rows,
)
from sweeps.store.provenance import Provenance
from sweeps.store.schema import SCHEMA_VERSION, TABLES, to_tables
from sweeps.store.scrubbing import scrub

__all__ = ["MARKER", "DamagedPartError", "ResultStore", "ResultsError"]

MARKER = "crowdml.json"
_READ_TRIES = 10
_NO_FILE = "it is not a file"


class ResultStore:
    """A results folder.

    Args:
        location: a local path, or a URI such as s3://bucket/folder or gs://bucket/folder.
        damaged: what happens when a damaged file is read.  "error" raises DamagedPartError.  "skip" leaves its rows
            out, for a run that computes them again, and adds the error to `damaged_parts`.
        tell: gets a line about damaged rows and records, which are left out; the default warns.

    Raises:
        ResultsError: the folder has another schema version, is not a results folder, or cannot be reached.
    """

    def __init__(
        self,
        location: str | Path,
        *,
        damaged: Literal["error", "skip"] = "error",
        tell: Callable[[str], None] = lambda line: warnings.warn(line, stacklevel=3),
    ) -> None:
        self.location = str(location)
        self._tell = tell
        self._named: set[str] = set()
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
        """The location for another process, which may have another working directory."""
        return self._root if self.is_local else self.location

    @property
    def public_location(self) -> str:
        """The location for messages, without keys that a URI may hold."""
        return scrub(self.location)

    @property
    def damaged_parts(self) -> list[DamagedPartError]:
        """The errors of the damaged files whose rows were left out so far."""
        return list((self._damaged or {}).values())

    def name_damage(self, name: str, reason: str) -> None:
        """Tell once that a file of the folder, or a row of a file, is damaged and left out."""
        if name not in self._named:
            self._named.add(name)
            self._tell(printable(f"damaged and left out: {self.public_location}/{name}: {reason}"))

    def location_of(self, folder: str) -> str:
        """Return the location of a folder inside the results folder, for another process."""
        base, question, query = self.location.partition("?") if not self.is_local else (self._root, "", "")
        return f"{base.rstrip('/')}/{folder}{question}{query}"

    def exists(self) -> bool:
        """Return whether the folder and its marker exist."""
        return self._read_marker() is not None

    # ------------------------------------------------------------------------------------------------- writing

    def create(self) -> None:
        """Create the folder and its marker if they are missing.

        Raises:
            ResultsError: the folder cannot be written.
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
        """Add results atomically: one new file for each table that has rows.

        Raises:
            ResultsError: the disk is full, or the folder is read-only or cannot be reached.
        """
        if not results:
            return
        attempts = [uuid.uuid4().hex[:12] for _ in results]
        tables = to_tables(results, attempts, provenance)
        for table in ("curves", "workers", "cells"):
            self.write_rows(table, tables[table], writer=provenance.run_id)

    def discard(self, folder: str) -> None:
        """Delete a folder inside the results folder, if it exists."""
        with suppress(FileNotFoundError):
            self._filesystem.delete_dir(self._path(folder))

    # ------------------------------------------------------------------------------------------------- reading

    def status(self) -> dict[str, str]:
        """Return cell id -> "ok" or "failed", for the best attempt of each cell."""
        best = best_attempts(self.read_rows("cells"))
        return _as_dict(best["cell_id"], best["status"])

    def attempts(self) -> dict[str, str]:
        """Return attempt -> cell id, for all attempts."""
        rows = self.read_rows("cells", ["cell_id", "attempt"])
        return _as_dict(rows["attempt"], rows["cell_id"])

    def read_cells(self) -> pd.DataFrame:
        """Return one row per cell, its best attempt: ok before failed, then the newest.

        Raises:
            DamagedPartError: a file is damaged, and the store was opened with damaged="error".
            ResultsError: a file cannot be reached.
        """
        return best_attempts(self.read_rows("cells")).to_pandas()

    def read(self, table: str) -> pd.DataFrame:
        """Return the rows of a table in TABLES that belong to the best attempts of the cells.

        Raises:
            DamagedPartError, ResultsError: see `read_cells`.
        """
        if table == "cells":
            return self.read_cells()
        # A damaged row counts for no table, so all columns are checked.
        best = best_attempts(self.read_rows("cells"))["attempt"].combine_chunks()
        return distinct(only(self.read_rows(table), best)).to_pandas()

    def read_rows(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return these columns (None: all) of the rows of all attempts; a compaction may make a row occur twice.

        Raises:
            DamagedPartError, ResultsError: see `read_cells`.
        """
        return self.read_new_rows(table, columns, set())

    def read_new_rows(
        self, table: str, columns: Sequence[str] | None, known: set[str], *, skip_writer: str | None = None
    ) -> pa.Table:
        """Return the rows of a table without the rows of known files; a row may occur twice.

        Args:
            columns: names of the columns to return; None returns all columns.
            known: names of the files to skip; this method adds the names of the files that it reads.
            skip_writer: id of a run whose files are not read; None reads the files of all runs.

        Raises:
            DamagedPartError, ResultsError: see `read_cells`.
        """
        schema = TABLES[table] if columns is None else pa.schema([TABLES[table].field(name) for name in columns])
        skip = None if self._damaged is None else self._skip
        for attempt in range(_READ_TRIES):
            new = [part for part in self.parts(table) if part.name not in known]
            if skip_writer is not None:
                new = [part for part in new if part.writer != skip_writer]
            # A compaction may delete a file that was just listed; then its rows are in a newer file.
            with suppress(FileNotFoundError):
                rows = read_parts(self._filesystem, new, schema, skip=skip, skip_rows=self._skip_rows)
                known.update(part.name for part in new)
                return rows
            time.sleep(0.01 * 2**attempt)
        raise ResultsError(
            f"files of {self.public_location}/{table} vanish while they are read; stop the program that deletes them"
        )

    # ------------------------------------------------------------------------------------------------- files

    def parts(self, table: str) -> list[Part]:
        """Return the files of a table, sorted by name."""
        parts = self._list(table)
        for part in parts:
            if part.size is None:
                self.name_damage(f"{table}/{part.name}", _NO_FILE)
        return [part for part in parts if part.size is not None]

    def strays(self, table: str) -> list[DamagedPartError]:
        """Return an error for each thing that has the name of a part and is no file."""
        return [DamagedPartError(part.path, _NO_FILE) for part in self._list(table) if part.size is None]

    def read_part(self, table: str, part: Part) -> tuple[pa.Table, list[DamagedRow]]:
        """Return the sound rows of one file, and its damaged rows.

        Raises:
            DamagedPartError, FileNotFoundError, ResultsError: see `sweeps.store.parts.read_part`.
        """
        rows = read_part(self._filesystem, part.path, TABLES[table], exactly=True)
        sound, damaged = sound_rows(rows, [(part.path, rows.num_rows)])
        if damaged:
            self._skip_rows(part, damaged[part.path])
        return sound, damaged.get(part.path, [])

    def write_rows(self, table: str, rows: pa.Table, *, writer: str | None = None) -> None:
        """Add one file with rows to a table; add nothing if there are no rows.

        Args:
            rows: complete attempts; no other file of the table holds rows of these attempts.
            writer: id of the run that writes; None outside a run.

        Raises:
            ResultsError: see `write`.
        """
        if rows.num_rows:
            name, content = encode(rows, writer)
            self._put(f"{table}/{name}", content)

    def delete(self, path: str) -> None:
        """Delete a file of the folder, if it exists."""
        try:
            self._filesystem.delete_file(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._cannot_write(error) from error

    def set_aside_rows(self, table: str, part: Part) -> str:
        """Write the sound rows of a file as a new file, move the file to RESULTS/damaged/, and return its new path.

        An interruption in between leaves the sound rows twice, which readers ignore.
        """
        rows, _ = self.read_part(table, part)
        self.write_rows(table, rows)
        return self.set_aside(part.path)

    def set_aside(self, path: str) -> str:
        """Move a file of the folder to RESULTS/damaged/, and return its new path."""
        table, name = path.split("/")[-2:]
        target = self._path(f"damaged/{table}-{name}")
        try:
            self._filesystem.create_dir(self._path("damaged"), recursive=True)
            self._filesystem.move(path, target)
        except OSError as error:
            raise self._cannot_write(error) from error
        return target

    def unfinished(self) -> list[fs.FileInfo]:
        """Return the hidden temporary files of writes that still run or were interrupted."""
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
            f"cannot write results to {self.public_location}: {error}; results written before are safe, and the "
            "same command computes the rest"
        )

    def _list(self, table: str) -> list[Part]:
        try:
            return list_parts(self._filesystem, self._path(table))
        except OSError as error:
            raise ResultsError(f"cannot read results folder {self.public_location}: {error}") from error

    def _skip_rows(self, part: Part, damaged: list[DamagedRow]) -> None:
        number = "1 row" if len(damaged) == 1 else f"{len(damaged)} rows"
        name = "/".join(part.path.split("/")[-2:])
        self.name_damage(
            name,
            f"{number}, such as row {damaged[0].number}: {damaged[0].reason}; "
            "`crowdml results verify RESULTS` lists damaged rows, and --repair moves them aside",
        )

    def _skip(self, part: DamagedPartError) -> None:
        assert self._damaged is not None
        self._damaged.setdefault(part.path, part)

    def _read_marker(self) -> int | None:
        path = self._path(MARKER)
        try:
            # A pipe would wait for a writer without end.
            if self.is_local and self._filesystem.get_file_info(path).type == fs.FileType.Unknown:
                raise ValueError(_NO_FILE)
            with self._filesystem.open_input_stream(path) as stream:
                version = json.loads(stream.read())["schema_version"]
            if type(version) is not int:
                raise ValueError("schema_version must be a whole number")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ResultsError(f"cannot read results folder {self.public_location}: {error}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ResultsError(
                f"{self.public_location}/{MARKER} is not a marker of a results folder: {error}"
            ) from error
        return version

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
                f"{SCHEMA_VERSION}; give another --results folder, or read it with the version of crowdml that wrote it"
            )
        if version is None and info.type == fs.FileType.Directory:
            try:
                content = self._filesystem.get_file_info(fs.FileSelector(self._path()))
            except OSError as error:
                raise ResultsError(f"cannot read results folder {self.public_location}: {error}") from error
            # A driver that is creating the folder now has a temporary file there.
            if any(not entry.base_name.startswith(".") for entry in content):
                raise ResultsError(
                    f"{self.public_location} holds other files and no {MARKER}; give a new folder or a results folder"
                )


def _as_dict(keys: pa.ChunkedArray, values: pa.ChunkedArray) -> dict[str, str]:
    return dict(zip(map(str, keys.to_pylist()), map(str, values.to_pylist()), strict=True))
