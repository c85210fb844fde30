"""Merge the many small files of a results folder into few large files, while others may read and write."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from sweeps.store.attempts import RANK_COLUMNS, best_attempts, distinct, without
from sweeps.store.parts import DamagedPartError, Part
from sweeps.store.result_store import ResultStore
from sweeps.store.schema import TABLES

FILE_ROWS, FILE_BYTES = 200_000, 128 * 2**20
"""A file with this many rows or bytes is not merged further.  The memory holds the rows of one such file."""


@dataclass(frozen=True)
class Compaction:
    """The result of a compaction.

    Args:
        before, after: table -> number of files before and after the compaction.
        dropped: number of rows of superseded attempts that were left out, over all tables.
        damaged: files that could not be read or have damaged rows, and stay as they are.
    """

    before: dict[str, int]
    after: dict[str, int]
    dropped: int
    damaged: list[DamagedPartError]


def compact(store: ResultStore, *, drop_superseded: bool = False) -> Compaction:
    """Merge the files of each table into files of about FILE_ROWS rows or FILE_BYTES bytes; remove duplicate rows.

    A merged file is complete before the files that it replaces are deleted, and only files that were read whole are
    deleted.  So nothing is lost if others write or compact at the same time, or if the compaction is interrupted.  Two
    compactions at the same time may duplicate rows; readers ignore duplicates, and the next compaction removes them.

    Args:
        drop_superseded: leave out the rows of attempts that are not the best of their cell.

    Raises:
        ResultsError: a file cannot be reached or written, or has columns that this version of crowdml does not know.
    """
    superseded = _superseded(store) if drop_superseded else pa.array([], pa.string())
    before: dict[str, int] = {}
    dropped, damaged = 0, []
    # Compact the cells last, because curves without their cell would look like an interrupted write.
    for table in ("curves", "workers", "cells"):
        parts = store.parts(table)
        before[table] = len(parts)
        group = _Group(store, table, superseded)
        for part in parts:
            try:
                group.add(part)
            except FileNotFoundError:
                continue  # Another compaction has moved its rows.
            except DamagedPartError as error:
                damaged.append(error)
        group.finish()
        dropped += group.dropped
    return Compaction(before, {table: len(store.parts(table)) for table in TABLES}, dropped, damaged)


class _Group:
    """Collects small files of a table and merges them into one file."""

    def __init__(self, store: ResultStore, table: str, superseded: pa.Array) -> None:
        self.dropped = 0
        self._store, self._table, self._superseded = store, table, superseded
        self._start()

    def add(self, part: Part) -> None:
        """Add a file; write the group when it is full."""
        rows, damaged = self._store.read_part(self._table, part)
        if damaged:
            raise DamagedPartError(part.path, f"row {damaged[0].number}: {damaged[0].reason}")
        kept = without(rows, self._superseded) if len(self._superseded) else rows
        n_dropped = rows.num_rows - kept.num_rows
        if not n_dropped and _is_large(rows.num_rows, part.size or 0):
            return
        if self._parts and self._n_rows + kept.num_rows > FILE_ROWS:
            self.finish()
        self._parts.append(part)
        self._rows.append(kept)
        self._n_rows += kept.num_rows
        self._n_bytes += part.size or 0
        self._n_dropped += n_dropped
        if _is_large(self._n_rows, self._n_bytes):
            self.finish()

    def finish(self) -> None:
        """Write the group as one file, and delete the files that it replaces."""
        if len(self._parts) > 1 or self._n_dropped:
            self._store.write_rows(self._table, distinct(pa.concat_tables(self._rows)).combine_chunks())
            for part in self._parts:
                self._store.delete(part.path)
            self.dropped += self._n_dropped
        self._start()

    def _start(self) -> None:
        self._parts: list[Part] = []
        self._rows: list[pa.Table] = []
        self._n_rows = self._n_bytes = self._n_dropped = 0


def _is_large(n_rows: int, n_bytes: int) -> bool:
    return n_rows >= FILE_ROWS or n_bytes >= FILE_BYTES


def _superseded(store: ResultStore) -> pa.Array:
    """Return the attempts that are not the best of their cell; later writes do not change that."""
    cells = store.read_rows("cells", RANK_COLUMNS)
    best = best_attempts(cells)["attempt"].combine_chunks()
    return without(cells, best)["attempt"].combine_chunks().unique()
