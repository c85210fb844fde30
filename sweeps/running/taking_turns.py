"""Compute what is left, while other runs may write to the same folder: their cells are left to them, and taken over if
they die."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console

from crowdml.experiment.cell import Cell
from sweeps.store.result_store import ResultStore
from sweeps.watching.progress import Progress
from sweeps.watching.run_record import RunRecord, leave_to_others
from sweeps.watching.tally import Outcome

LOOK_SECONDS = 5.0


def without_new_attempt(store: ResultStore, cells: Sequence[Cell], before: Mapping[str, str]) -> list[Cell]:
    """The cells that nobody has computed since; an old failure is no result of a run that retries.

    Args:
        store: the results folder.
        cells: of the grid.
        before: what `store.attempts` gave then.
    """
    recorded = {cell_id for attempt, cell_id in store.attempts().items() if attempt not in before}
    return [cell for cell in cells if cell.id not in recorded]


def compute_in_turn(
    compute: Callable[[Sequence[Cell]], None],
    todo: Sequence[Cell],
    *,
    record: RunRecord,
    store: ResultStore,
    before: Mapping[str, str],
    progress: Progress,
    console: Console,
) -> None:
    """Compute the cells that no earlier live run computes, then wait for the others, until each has a new row.

    Args:
        compute: computes cells, and records every one of them.
        todo: the cells that were announced.
        record: of this run.
        store: the results folder.
        before: attempts that are no answer, for they were there before the run.
        progress: is told how the others' cells ended.
        console: is told for whom the run waits.
    """
    told: set[str] = set()
    # Those that `compute` has recorded; of the others the rows tell how they ended.
    own: set[str] = set()
    left = list(todo)
    while True:
        mine, theirs = leave_to_others(record, left)
        # Only now: a run that is over has written all that it computed.
        mine = without_new_attempt(store, mine, before)
        if mine:
            own |= {cell.id for cell in mine}
            progress.take_over(mine)
            compute(mine)
        for run_id, cells in theirs.items():
            if run_id not in told:
                console.print(f"{len(cells)} cells are computed by run {run_id}; this one waits for them")
                told.add(run_id)
        left = [cell for cells in theirs.values() for cell in cells]
        if not left:
            break
        left = without_new_attempt(store, left, before)
        _record_others(store, {cell.id for cell in todo} - {cell.id for cell in left} - own, progress)
        if left:
            time.sleep(LOOK_SECONDS)
    _record_others(store, {cell.id for cell in todo} - own, progress)


def _record_others(store: ResultStore, ended: set[str], progress: Progress) -> None:
    """Tell how cells ended that another run has computed."""
    if not ended:
        return
    rows = store.read_cells()
    rows = rows[rows["cell_id"].isin(ended)]
    columns = ["cell_id", "status", "seconds", "aggregation_error", "test_accuracy", "error"]
    outcomes, errors = [], {}
    for cell_id, status, seconds, error, accuracy, text in rows[columns].itertuples(index=False):
        outcomes.append(Outcome(cell_id, status == "ok", seconds, error, accuracy))
        if status != "ok":
            errors[cell_id] = text or ""
    progress.record(outcomes, errors=errors)
