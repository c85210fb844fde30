"""Compute cells one after the other in this process and write their rows: what a trial does, and a run without Ray."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from crowdml.datasets import CrowdData, ImageData
from crowdml.experiment.cell import Cell
from crowdml.experiment.result import CellResult
from crowdml.experiment.run_cell import attempt_cell
from crowdml.experiment.shared_work import SharedWork
from sweeps.running.checkpoints import WORTHWHILE_SECONDS, checkpoints_of, discard_checkpoints
from sweeps.running.shards import Timed
from sweeps.store.provenance import Provenance
from sweeps.store.result_store import ResultsError, ResultStore
from sweeps.store.scrubbing import scrub
from sweeps.watching.tally import Outcome

FLUSH_SECONDS = 2.0
"""Rows are written about this often, and at the latest after the cell that is being computed."""
WRITE_AGAIN_SECONDS = (1.0, 4.0)
"""Waits after a writing that failed; storage that does not answer for a moment costs no result."""
_NO_WAY_ON = "CheckpointMismatchError"
"""Name of the exception of a training that cannot continue from its checkpoint."""

Data = ImageData | CrowdData
Compute = Callable[[Cell, Data, SharedWork, Path | None], CellResult]


def compute_here(cell: Cell, data: Data, shared: SharedWork, checkpoints: Path | None) -> CellResult:
    """The cell's result; one that raises gives a failed one."""
    return attempt_cell(cell, data, shared=shared, checkpoints=checkpoints)


@dataclass
class Ended:
    """Cells that are written.

    Args:
        outcomes: one a cell.
        errors: cell id -> traceback, of those that failed.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)


class CellWorker:
    """Computes cells; what they share is done once.

    Args:
        store: where rows go.
        provenance: of the rows.
        data: gives a data set by name.
        compute: computes one cell.
    """

    def __init__(
        self,
        store: ResultStore,
        provenance: Provenance,
        data: Callable[[str], Data],
        compute: Compute = compute_here,
    ) -> None:
        self._store, self._provenance = store, provenance
        self._data, self._compute = data, compute
        self._shared = SharedWork()

    def work(self, todo: list[Timed]) -> Ended:
        """Compute cells from the end of the list, which are taken off it, until it is time to write, and write them.

        Raises:
            ResultsError: the rows cannot be written.
        """
        start = time.monotonic()
        results: list[CellResult] = []
        kept: list[str] = []
        while todo and time.monotonic() - start < FLUSH_SECONDS:
            cell, seconds = todo.pop()
            if cell.network is None or seconds < WORTHWHILE_SECONDS:
                results.append(self._compute(cell, self._data(cell.dataset), self._shared, None))
            else:
                results.append(self._go_on(cell))
                kept.append(cell.id)
        self._write(results)
        for cell_id in kept:
            discard_checkpoints(self._store, cell_id)
        return _ended(results)

    def _go_on(self, cell: Cell) -> CellResult:
        """The cell's result, from its checkpoints on, or from the start if they are damaged or of another code."""
        result = self._compute_with_checkpoints(cell)
        if result.error_kind == _NO_WAY_ON:
            discard_checkpoints(self._store, cell.id)
            result = self._compute_with_checkpoints(cell)
        return result

    def _compute_with_checkpoints(self, cell: Cell) -> CellResult:
        with checkpoints_of(self._store, cell.id) as folder:
            return self._compute(cell, self._data(cell.dataset), self._shared, folder)

    def _write(self, results: list[CellResult]) -> None:
        for wait in WRITE_AGAIN_SECONDS:
            try:
                self._write_once(results)
            except ResultsError:
                time.sleep(wait)
            else:
                return
        self._write_once(results)

    def _write_once(self, results: list[CellResult]) -> None:
        if not self._store.exists():
            # Writing would make a folder that holds some of the results, and hide that the others are gone.
            raise ResultsError(
                f"results folder {self._store.public_location} is gone: deleted, or its file system is no longer "
                "there; once it is back, the same command goes on from what it holds"
            )
        self._store.write(results, self._provenance)


def _ended(results: list[CellResult]) -> Ended:
    ended = Ended()
    for result in results:
        ok = result.status == "ok"
        ended.outcomes.append(
            Outcome(result.cell.id, ok, result.seconds or 0.0, result.aggregation_error, result.test_accuracy)
        )
        if not ok:
            ended.errors[result.cell.id] = scrub(result.error or "")
    return ended
