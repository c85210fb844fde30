"""Tally: count what a run does.  This module draws nothing and does not import ray."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pandas as pd

from crowdml.experiment.cell import COLUMNS, Cell
from crowdml.support.printable import printable
from sweeps.watching.best_methods import BestMethods, text_of
from sweeps.watching.eta import WorkLeft
from sweeps.watching.snapshot import Count, LastError, Snapshot

_FIRST = ("method", "method_options", "dataset", "network")
AXES = (*_FIRST, *(name for name in COLUMNS if name not in (*_FIRST, "recipe")))
"""The axes by which progress is counted, the most interesting first."""
FOLLOWS = {name: other for name, column in COLUMNS.items() if (other := column.axis.follows)}
"""Axis -> another axis that often decides its value.  If it does in a grid, only the other axis is shown."""

N_BEST, N_ERRORS = 100, 5
_RECENT_SECONDS = 60.0


class Outcome(NamedTuple):
    """How a cell ended, as the driver learns it.

    Args:
        ok: whether it has a result.
        seconds: its wall seconds.
        aggregation_error, test_accuracy: its measures.
        error: the last line of the traceback of a failed cell, without secrets.
        own: whether this run, not another run, computed the cell.
    """

    cell_id: str
    ok: bool
    seconds: float
    aggregation_error: float | None
    test_accuracy: float | None
    error: str | None = None
    own: bool = True


class Tally:
    """The counts of a run.

    Args:
        cells: the whole grid.
        done: rows of `ResultStore.read_cells` from before the run; rows of cells in `todo` do not count.
        todo: cells of the grid that this run computes.
        seconds: returns the estimated seconds of a cell in one process.
        n_slots: trials at a time.
        clock: returns seconds that never decrease.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        done: pd.DataFrame,
        todo: Sequence[Cell],
        seconds: Callable[[Cell], float],
        n_slots: int,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._began = self._updated = clock()
        self._n_cells = len(cells)
        self._slots = max(n_slots, 1)
        self._by_axis = _count_axes(cells)
        self._best = BestMethods(self._by_axis)
        self._open = {cell.id: cell for cell in cells}
        self._left = {cell.id for cell in todo}
        self._work = WorkLeft(seconds)
        self._work.add(todo)
        self._n_before = {True: 0, False: 0}  # with a result, and failed
        self._n_ended = {True: 0, False: 0}
        self._count_earlier(done)
        self._errors: deque[LastError] = deque(maxlen=N_ERRORS)
        self._recent: deque[tuple[float, int]] = deque()
        self._first_trial: float | None = None
        self._seconds_in_cells = 0.0
        self._running = self._pending = 0
        self._machines: dict[str, float] = {}

    def record(self, outcomes: Sequence[Outcome]) -> None:
        """Count cells that ended and have a row.

        A cell counts once, whichever run computed it.  Cells outside the grid do not count.
        """
        now = self._clock()
        n_before = sum(self._n_ended.values())
        for outcome in outcomes:
            cell = self._open.pop(outcome.cell_id, None)
            if cell is None:
                continue
            self._n_ended[outcome.ok] += 1
            self._count(cell, outcome.ok, outcome.aggregation_error, outcome.test_accuracy)
            if outcome.cell_id in self._left:
                self._left.remove(outcome.cell_id)
                self._work.end(cell, outcome.seconds if outcome.own else None)
                self._seconds_in_cells += outcome.seconds if outcome.own else 0.0
            if not outcome.ok:
                self._errors.appendleft(
                    LastError(cell_id=outcome.cell_id, method=cell.method, line=outcome.error or last_line(""))
                )
        n_new = sum(self._n_ended.values()) - n_before
        if n_new:
            self._updated = now
            self._recent.append((now, n_new))
        if self._first_trial is None and outcomes:
            self._first_trial = self._began

    def set_running(self, *, running: int, pending: int = 0, **machines: float) -> None:
        """Record how many trials run and wait now.  Call this often, also while no cell ends.

        `machines` are the fields cpus_used, cpus, gpus_used and gpus of Snapshot.
        """
        self._running, self._pending, self._machines = running, pending, machines
        self._slots = max(self._slots, running)
        if running and self._first_trial is None:
            self._first_trial = self._clock()

    def snapshot(self) -> Snapshot:
        """Return the state now."""
        now = self._clock()
        n_ended = sum(self._n_ended.values())
        # The work ends with the last cell; the time after it does not count.
        last = now if self._left else self._updated
        at_work = 0.0 if self._first_trial is None else self._slots * max(last - self._first_trial, 0.0)
        return Snapshot(
            n_cells=self._n_cells,
            n_done_before=self._n_before[True],
            n_failed_before=self._n_before[False],
            n_ok=self._n_ended[True],
            n_failed=self._n_ended[False],
            n_left=len(self._left),
            elapsed=now - self._began,
            eta_seconds=self._eta_seconds(now) if self._left else None,
            cells_per_minute=self._cells_per_minute(now),
            seconds_in_cells=self._seconds_in_cells,
            slots=self._slots,
            share_in_cells=self._seconds_in_cells / at_work if at_work and n_ended else None,
            overhead_seconds_a_cell=(at_work - self._seconds_in_cells) / n_ended if n_ended else None,
            by_axis={
                axis: {text_of(value): Count(done=c[0], failed=c[1], total=c[2]) for value, c in counts.items()}
                for axis, counts in self._by_axis.items()
            },
            best=self._best.newest(N_BEST),
            n_panels=len(self._best),
            last_errors=tuple(self._errors),
            running=self._running,
            pending=self._pending,
            **self._machines,
        )

    def _count_earlier(self, done: pd.DataFrame) -> None:
        columns = (done[name] for name in ("cell_id", "status", "aggregation_error", "test_accuracy"))
        for cell_id, status, aggregation_error, test_accuracy in zip(*columns, strict=True):
            if cell_id in self._left or cell_id not in self._open:
                continue
            ok = status == "ok"
            self._n_before[ok] += 1
            self._count(self._open.pop(cell_id), ok, aggregation_error, test_accuracy)

    def _count(self, cell: Cell, ok: bool, aggregation_error: float | None, test_accuracy: float | None) -> None:
        for axis, counts in self._by_axis.items():
            counts[COLUMNS[axis].value(cell)][0 if ok else 1] += 1
        if ok:
            self._best.add(cell, aggregation_error=aggregation_error, test_accuracy=test_accuracy)

    def _eta_seconds(self, now: float) -> float:
        # At the end fewer shards than slots are left.
        parallel = self._running if self._running and not self._pending else self._slots
        seconds = self._work.seconds() / min(parallel, len(self._left))
        # Before the first result, processes are still starting.  A long cell must not make the ETA zero.
        since = now - self._updated if self._seconds_in_cells else 0.0
        return max(seconds - since, seconds / 10)

    def _cells_per_minute(self, now: float) -> float:
        while self._recent and now - self._recent[0][0] > _RECENT_SECONDS:
            self._recent.popleft()
        if self._first_trial is None or not self._recent:
            return 0.0
        seconds = min(_RECENT_SECONDS, now - self._first_trial)
        return 60 * sum(n for _, n in self._recent) / seconds if seconds else 0.0


def _count_axes(cells: Sequence[Cell]) -> dict[str, dict[object, list[int]]]:
    """Return axis -> value -> [done, failed, total], for the axes that vary and that no other axis decides."""
    values = {axis: [COLUMNS[axis].value(cell) for cell in cells] for axis in AXES}
    totals = {axis: Counter(each) for axis, each in values.items()}
    varying = [axis for axis, counts in totals.items() if len(counts) > 1]
    for axis, other in FOLLOWS.items():
        if axis in varying and len(set(zip(values[other], values[axis], strict=True))) == len(totals[other]):
            varying.remove(axis)
    return {axis: {value: [0, 0, n] for value, n in totals[axis].items()} for axis in varying}


def last_line(error: str) -> str:
    """Return the last line of a traceback, with control characters escaped."""
    lines = error.strip().splitlines()
    return printable(lines[-1].strip()) if lines else "no traceback"
