"""Verify that a results folder has no damaged file, no wrong row and no missing cell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, product
from typing import Any

import pyarrow as pa

from crowdml.experiment.cell import Cell
from crowdml.experiment.columns import id_of
from crowdml.methods import parts, version
from crowdml.methods.registry import REGISTRY
from crowdml.support.names import UnknownNameError
from sweeps.store.attempts import RANK_COLUMNS, best_attempts, distinct
from sweeps.store.damaged_rows import DamagedRow
from sweeps.store.parts import DamagedPartError, Part, ResultsError
from sweeps.store.result_store import ResultStore
from sweeps.store.schema import AXES, TABLES

STALE_SECONDS = 3600
"""A write takes seconds, so an older temporary file comes from an interrupted write."""
_VERSIONS = range(1, 21)


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The findings in a results folder.

    Args:
        n_files: number of files of all tables.
        n_cells: number of cells with a readable row.
        n_attempts: number of attempts with a readable row.
        damaged: files whose content differs from what was written.
        damaged_rows: table -> rows with values that crowdml cannot have written; nothing else here counts them.
        conflicting: attempts that occur with different rows.
        wrong_ids: cell ids that differ from the hash of the axes in their row.
        missing: cells of the grid without a row.
        failed: ids of cells whose best attempt failed, among the cells of the grid; without a grid, among all cells.
        n_older: number of attempts that another version of their method computed.
        n_twice: number of attempts whose rows lie in two files; an interrupted compaction leaves them.
        n_orphans: number of attempts with curves or workers, but without a cell; an interrupted write leaves them.
        stale: temporary files of interrupted writes.
    """

    n_files: int
    n_cells: int
    n_attempts: int
    damaged: list[DamagedPartError]
    damaged_rows: dict[str, list[DamagedRow]]
    conflicting: list[str]
    wrong_ids: list[str]
    missing: list[Cell]
    failed: list[str]
    n_older: int
    n_twice: int
    n_orphans: int
    stale: list[str]

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged, wrong, missing or failed.  The other findings do no harm."""
        return not (
            self.damaged
            or any(self.damaged_rows.values())
            or self.conflicting
            or self.wrong_ids
            or self.missing
            or self.failed
        )


def verify(
    store: ResultStore, grid: Sequence[Cell] | None = None, *, each: Callable[[], None] = lambda: None
) -> Verification:
    """Read every file of a folder and check every row.

    Args:
        grid: cells that should have a row; None expects no particular cells.
        each: called after each file, for a progress bar.

    Raises:
        ResultsError: a file cannot be reached, or vanishes because a compaction runs.
    """
    files = _Files(store, each)
    # Read the cells last, so that attempts written meanwhile do not seem to lack their cell.
    others = [files.attempts(table) for table in ("curves", "workers")]
    rows = pa.concat_tables([TABLES["cells"].empty_table(), *files.rows("cells")])
    cells = distinct(rows)
    best = best_attempts(cells.select(RANK_COLUMNS))
    status = dict(zip(_texts(best["cell_id"]), _texts(best["status"]), strict=True))
    wanted = status if grid is None else {cell.id: cell for cell in grid}
    wrong, older = _check_ids(cells)
    attempts = set(_texts(cells["attempt"]))
    return Verification(
        n_files=files.n,
        n_cells=len(status),
        n_attempts=len(attempts),
        damaged=files.damaged,
        damaged_rows=files.damaged_rows,
        conflicting=sorted(_twice([_texts(cells["attempt"])])),
        wrong_ids=wrong,
        missing=[cell for cell in grid or () if cell.id not in status],
        failed=[cell_id for cell_id in wanted if status.get(cell_id, "ok") != "ok"],
        n_older=older,
        n_twice=len({*_twice(others[0]), *_twice(others[1]), *_twice([_texts(rows["attempt"])])}),
        n_orphans=len(set(chain(*others[0], *others[1])) - attempts),
        stale=_stale(store),
    )


@dataclass
class _Files:
    """The files of a folder; counts them while reading."""

    store: ResultStore
    each: Callable[[], None]
    n: int = 0
    damaged: list[DamagedPartError] = field(default_factory=list)
    damaged_rows: dict[str, list[DamagedRow]] = field(default_factory=dict)

    def rows(self, table: str) -> Iterator[pa.Table]:
        """Yield the sound rows of each undamaged file of a table."""
        self.damaged += self.store.strays(table)
        for part in self.store.parts(table):
            self.n += 1
            try:
                yield self._read(table, part)
            except DamagedPartError as error:
                self.damaged.append(error)
            self.each()

    def attempts(self, table: str) -> list[list[str]]:
        """Return the attempts in each undamaged file of a table."""
        return [_texts(rows["attempt"].unique()) for rows in self.rows(table)]

    def _read(self, table: str, part: Part) -> pa.Table:
        try:
            rows, damaged = self.store.read_part(table, part)
            rows.validate(full=True)
            self.damaged_rows.setdefault(table, []).extend(damaged)
        except FileNotFoundError:
            raise ResultsError(
                f"{part.path} vanished, because a compaction runs; verify again when the compaction has ended"
            ) from None
        except pa.ArrowInvalid as error:
            raise DamagedPartError(part.path, str(error)) from error
        return rows


def _texts(column: pa.Array | pa.ChunkedArray) -> list[str]:
    return [str(value) for value in column.to_pylist()]


def _twice(files: Sequence[Sequence[str]]) -> set[str]:
    seen: set[str] = set()
    again: set[str] = set()
    for attempt in chain.from_iterable(files):
        (again if attempt in seen else seen).add(attempt)
    return again


def _check_ids(cells: pa.Table) -> tuple[list[str], int]:
    """Return the ids that are not the hash of their row, and the number of rows from another method version."""
    wrong, older = [], 0
    for row in cells.select(["cell_id", *AXES]).to_pylist():
        if not _has_id(row, [_present_version(row["method"], row["network"] is None)]):
            if _has_id(row, _versions()):
                older += 1
            else:
                wrong.append(row["cell_id"])
    return wrong, older


def _has_id(row: dict[str, Any], versions: Sequence[str]) -> bool:
    try:
        return any(id_of(Cell, row, method_version) == row["cell_id"] for method_version in versions)
    except ValueError:  # The options are not JSON.
        return False


@cache
def _present_version(method: str, labels_only: bool) -> str:
    """Return the version of a method in this crowdml; empty if the method is unknown."""
    source, learner = parts(method)
    if ":" in source:  # A class of the user: its version is always 1, and it must not be imported here.
        return f"1+{1 if labels_only or learner not in REGISTRY else REGISTRY[learner].version}"
    try:
        return version(method, labels_only=labels_only)
    except UnknownNameError:
        return ""


@cache
def _versions() -> list[str]:
    return [*map(str, _VERSIONS), *(f"{source}+{learner}" for source, learner in product(_VERSIONS, _VERSIONS))]


def _stale(store: ResultStore) -> list[str]:
    now = time.time()
    return [info.path for info in store.unfinished() if now - (info.mtime_ns or 0) / 1e9 > STALE_SECONDS]
