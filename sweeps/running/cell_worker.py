"""Compute cells one after the other and write their rows, in a Tune trial or, without Ray, in the driver."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from crowdml.datasets import CrowdData, ImageData
from crowdml.experiment.cell import Cell
from crowdml.experiment.result import CellResult
from crowdml.experiment.run_cell import attempt_cell
from crowdml.experiment.shared_work import SharedWork
from sweeps.running.checkpoints import WORTHWHILE_SECONDS, checkpoints_of, discard_checkpoints
from sweeps.running.gained_cells import Before, GainedCells
from sweeps.running.shards import Timed
from sweeps.store.provenance import Provenance
from sweeps.store.result_store import ResultsError, ResultStore
from sweeps.store.scrubbing import scrub
from sweeps.watching.tally import Outcome, last_line

FLUSH_SECONDS = 2.0
"""Seconds between two writes of rows; a cell that takes longer is written when it ends."""
WRITE_AGAIN_SECONDS = (1.0, 4.0)
"""Seconds between the attempts to write, so that a short failure of the storage loses no result."""
LOOK_SHARE = 0.002
"""Largest share of its time that a worker spends on looking for cells that other runs have computed.  The worker looks
when a shard starts, and before a cell if the share allows it."""

Data = ImageData | CrowdData
Compute = Callable[[Cell, Data, SharedWork, Path | None], CellResult]


def compute_here(cell: Cell, data: Data, shared: SharedWork, checkpoints: Path | None) -> CellResult:
    """Compute a cell in this process; an exception becomes a failed result."""
    return attempt_cell(cell, data, shared=shared, checkpoints=checkpoints)


class CellWorker:
    """Computes the cells of one shard after another; work that cells share is done once.

    Args:
        store: where rows go.
        provenance: of the rows.
        data: returns a data set by name.
        before: what the store held when the run began; the worker skips cells that got a row since then.
    """

    def __init__(
        self,
        store: ResultStore,
        provenance: Provenance,
        data: Callable[[str], Data],
        before: Before,
        compute: Compute = compute_here,
    ) -> None:
        self._store, self._provenance = store, provenance
        self._data, self._compute = data, compute
        self._gained = GainedCells(store, before, provenance.run_id, skip_own=True)
        self._shared = SharedWork()
        self._todo: list[Timed] = []
        self._next_look = 0.0

    @property
    def is_done(self) -> bool:
        """Whether no cell of the shard is left."""
        return not self._todo

    def take(self, cells: Sequence[Timed]) -> None:
        """Take the cells of the next shard, in the order in which to compute them."""
        self._todo = list(reversed(cells))
        self._next_look = 0.0

    def work(self) -> list[Outcome]:
        """Compute cells for about FLUSH_SECONDS, write their rows, and return how the cells ended.

        The result also has the cells of the shard that another run has computed.

        Raises:
            ResultsError: the results folder cannot be written.
        """
        start = time.monotonic()
        outcomes: list[Outcome] = []
        results: list[CellResult] = []
        kept: list[str] = []
        while time.monotonic() - start < FLUSH_SECONDS:
            outcomes += self._skip_gained()
            if not self._todo:
                break
            cell, seconds = self._todo.pop()
            if cell.network is None or seconds < WORTHWHILE_SECONDS:
                results.append(self._compute(cell, self._data(cell.dataset), self._shared, None))
            else:
                results.append(self._resume(cell))
                kept.append(cell.id)
        if kept:
            # If another run ended the same training first, that run has deleted the checkpoints, and with them early
            # points of our curves.  The other run's row is complete.
            self._look()
            better = {cell_id: outcome for cell_id, outcome in self._gained.outcomes.items() if outcome.ok}
            outcomes += [better[result.cell.id] for result in results if result.cell.id in better]
            results = [result for result in results if result.cell.id not in better]
        self._write(results)
        for cell_id in kept:
            discard_checkpoints(self._store, cell_id)
        return [*outcomes, *map(_outcome, results)]

    def _skip_gained(self) -> list[Outcome]:
        """Drop the cells that the store has gained; return how they ended."""
        start = time.monotonic()
        if start < self._next_look:
            return []
        self._look()
        end = time.monotonic()
        self._next_look = end + (end - start) / LOOK_SHARE
        gained = self._gained.outcomes
        skipped = [gained[cell.id] for cell, _ in self._todo if cell.id in gained]
        self._todo = [timed for timed in self._todo if timed[0].id not in gained]
        return skipped

    def _look(self) -> None:
        # A short failure of the storage must not end the run.  Cells that the look missed may be computed twice.
        with suppress(ResultsError):
            self._gained.look()

    def _resume(self, cell: Cell) -> CellResult:
        """Compute a cell from its checkpoints; start again if they are damaged or belong to another training."""
        from crowdml.learning.checkpoint import CheckpointMismatchError  # imports torch

        result = self._compute_with_checkpoints(cell)
        if result.error_kind == CheckpointMismatchError.__name__:
            discard_checkpoints(self._store, cell.id)
            result = self._compute_with_checkpoints(cell)
        return result

    def _compute_with_checkpoints(self, cell: Cell) -> CellResult:
        with checkpoints_of(self._store, cell.id) as folder:
            return self._compute(cell, self._data(cell.dataset), self._shared, folder)

    def _write(self, results: list[CellResult]) -> None:
        for wait in WRITE_AGAIN_SECONDS:
            with suppress(ResultsError):
                self._write_once(results)
                return
            time.sleep(wait)
        self._write_once(results)

    def _write_once(self, results: list[CellResult]) -> None:
        if not self._store.exists():
            # Writing would create a folder with a part of the results, and hide that the rest is gone.
            raise ResultsError(
                f"results folder {self._store.public_location} is gone: it was deleted, or its file system is no "
                "longer mounted; when the folder is back, run the same command again to continue"
            )
        self._store.write(results, self._provenance)


def _outcome(result: CellResult) -> Outcome:
    ok = result.status == "ok"
    line = None if ok else last_line(scrub(result.error or ""))
    return Outcome(result.cell.id, ok, result.seconds or 0.0, result.aggregation_error, result.test_accuracy, line)
