"""GainedCells: the cells that got a row since a run began, from this run or from another run.

Several runs may write to one results folder at the same time.  They do not divide the cells between them: each run
skips cells that got a row.  If two runs compute a cell at the same time, readers of the folder see one row.
"""

from __future__ import annotations

from dataclasses import dataclass

from sweeps.store.result_store import ResultStore
from sweeps.watching.tally import Outcome, last_line

_COLUMNS = ["cell_id", "attempt", "status", "seconds", "aggregation_error", "test_accuracy", "error", "run_id"]


@dataclass(frozen=True)
class Before:
    """What a results folder holds when a run begins.

    Args:
        parts: names of the files of the table `cells`.
        attempts: ids of the attempts that do not count, because the run computes their cells again.
    """

    parts: frozenset[str] = frozenset()
    attempts: frozenset[str] = frozenset()


def look_before(store: ResultStore, *, again: bool) -> Before:
    """Return what a results folder holds now; call this before the cells to compute are chosen.

    If the run computes cells `again` that have a row, the attempts so far do not count.  Otherwise every row counts.
    """
    parts = frozenset(part.name for part in store.parts("cells"))
    return Before(parts, frozenset(store.attempts()) if again else frozenset())


class GainedCells:
    """The cells that got a row since a run began; each new file is read once.

    Args:
        before: what the folder held when the run began.
        skip_own: do not read the files that this run wrote, which their names show.

    Attributes:
        outcomes: cell id -> how the cell ended, as of the last look.
    """

    def __init__(self, store: ResultStore, before: Before, run_id: str | None, *, skip_own: bool) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self._store, self._attempts_before, self._run_id = store, before.attempts, run_id
        self._skipped_writer = run_id if skip_own else None
        self._read = set(before.parts)

    def look(self) -> None:
        """Read the new files.

        Raises:
            ResultsError: the folder cannot be read.
        """
        rows = self._store.read_new_rows("cells", _COLUMNS, self._read, skip_writer=self._skipped_writer)
        for cell_id, attempt, status, seconds, error, accuracy, text, run_id in zip(
            *(column.to_pylist() for column in rows.columns), strict=True
        ):
            if attempt not in self._attempts_before:
                ok, own = status == "ok", run_id == self._run_id
                line = None if ok else last_line(text or "")
                self.outcomes[cell_id] = Outcome(cell_id, ok, seconds or 0.0, error, accuracy, line, own)
