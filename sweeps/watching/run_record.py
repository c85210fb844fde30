"""A run announces itself in its results folder: others see how far it is, and leave its cells to it.

Several drivers may write to one folder at once.  Each first writes which cells it means to compute, then draws a ticket
higher than all it sees (Lamport's bakery, so that two that come at the same moment agree), and leaves every cell to the
run with the lowest ticket, of those alive, that claims it.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from crowdml.experiment.cell import Cell
from sweeps.store.parts import ResultsError
from sweeps.store.result_store import ResultStore
from sweeps.store.scrubbing import scrub
from sweeps.watching.processes import this_process
from sweeps.watching.run_files import RunState, Watcher, read_claims, write_claims, write_state
from sweeps.watching.snapshot import Snapshot

BEAT_SECONDS, REMOTE_BEAT_SECONDS = 5.0, 10.0
_DRAWING_SECONDS = 120.0


@dataclass(frozen=True)
class OtherRun:
    """A live run that claims some of the same cells.

    Args:
        state: what it says of itself.
        overlap: ids of the cells that both claim.
        is_earlier: whether those are left to it.
    """

    state: RunState
    overlap: frozenset[str]
    is_earlier: bool


@contextmanager
def announce(
    store: ResultStore, run_id: str, command: str, cells_todo: Sequence[Cell], *, git_commit: str | None = None
) -> Iterator[RunRecord]:
    """Announce a run for as long as the block lasts; how the block ends becomes the state of its record.

    Args:
        store: the results folder; it exists.
        run_id: of the run.
        command: its command line; secrets are removed.
        cells_todo: the cells that it computes, if nobody else does.
        git_commit: of the code.

    Raises:
        ResultsError: the folder cannot be written, or a record in it not read.
    """
    state = RunState(
        run_id=run_id,
        process=this_process(),
        command=scrub(command),
        git_commit=git_commit,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    record = RunRecord(store, state, frozenset(cell.id for cell in cells_todo))
    try:
        record.draw_ticket()
        yield record
    except (KeyboardInterrupt, SystemExit):
        record.end("stopped")
        raise
    except BaseException:
        record.end("failed")
        raise
    record.end("finished")


class RunRecord:
    """The record of this run; made by `announce`."""

    def __init__(self, store: ResultStore, state: RunState, claims: frozenset[str]) -> None:
        self._store, self._state, self._claims = store, state, claims
        self._watcher = Watcher(store)
        self._claims_of: dict[str, frozenset[str]] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        try:
            write_claims(store, state.run_id, claims)
            self._write()
        except OSError as error:
            raise self._cannot_write(error) from error
        self._thread = threading.Thread(target=self._beat, name="run-record", daemon=True)
        self._thread.start()

    @property
    def run_id(self) -> str:
        """The name of this run."""
        return self._state.run_id

    def draw_ticket(self) -> None:
        """Come after every run that is there; called by `announce`."""
        tickets = [run.ticket or 0 for run in self._watcher.look()]
        try:
            self._write(ticket=1 + max(tickets))
        except OSError as error:
            raise self._cannot_write(error) from error

    def update(self, snapshot: Snapshot) -> None:
        """Take the newest snapshot; a sink of Progress.  It is written at the next beat."""
        content = snapshot.to_dict()
        with self._lock:
            self._state = replace(self._state, snapshot=content)

    def others(self) -> list[OtherRun]:
        """The live runs that claim some of the same cells, the earliest first.

        Raises:
            ResultsError: a record cannot be read, or a run has been drawing its ticket for minutes.
        """
        found = [OtherRun(run, self._overlap(run.run_id), _rank(run) < _rank(self._state)) for run in self._drawn()]
        return sorted((other for other in found if other.overlap), key=lambda other: _rank(other.state))

    def end(self, state: str) -> None:
        """Say how the run ended; called by `announce`."""
        self._over.set()
        self._thread.join()
        try:
            self._write(state=state)
        except OSError as error:
            _complain(error)

    def _overlap(self, run_id: str) -> frozenset[str]:
        if run_id not in self._claims_of:
            self._claims_of[run_id] = read_claims(self._store, run_id) & self._claims
        return self._claims_of[run_id]

    def _drawn(self) -> list[RunState]:
        """The other live runs, once each has its ticket."""
        deadline = time.monotonic() + _DRAWING_SECONDS
        while True:
            runs = [run for run in self._watcher.look() if run.is_alive and run.run_id != self.run_id]
            drawing = [run for run in runs if run.ticket is None]
            if not drawing:
                return runs
            if time.monotonic() > deadline:
                process = drawing[0].process
                raise ResultsError(
                    f"run {drawing[0].run_id} (process {process.pid} on {process.host}) has been starting for "
                    f"{_DRAWING_SECONDS:.0f} s; end it, or wait until it computes"
                )
            time.sleep(0.2)

    def _write(self, **changes: object) -> None:
        if not self._store.exists():
            # Making its folder again would leave one that is no results folder.
            raise OSError(f"{self._store.public_location} is no results folder any more")
        with self._lock:
            self._state = replace(self._state, beat=self._state.beat + 1, **changes)
            write_state(self._store, self._state)

    def _cannot_write(self, error: OSError) -> ResultsError:
        return ResultsError(f"cannot write results to {self._store.public_location}: {scrub(str(error))}")

    def _beat(self) -> None:
        seconds = BEAT_SECONDS if self._store.is_local else REMOTE_BEAT_SECONDS
        complained = False
        while not self._over.wait(seconds):
            try:
                self._write()
            except OSError as error:
                if not complained:
                    _complain(error)
                complained = True


def leave_to_others(record: RunRecord, todo: Sequence[Cell]) -> tuple[list[Cell], dict[str, list[Cell]]]:
    """Split the cells into this run's and those that earlier live runs compute.

    To be asked again once a run in the answer is over or dead: its cells then belong to the next that claims them.

    Args:
        record: of this run.
        todo: cells without a result; among those that were announced.

    Raises:
        ResultsError: see `RunRecord.others`.
    """
    owner: dict[str, str] = {}
    for other in record.others():
        if other.is_earlier:
            owner |= {cell_id: other.state.run_id for cell_id in other.overlap if cell_id not in owner}
    mine: list[Cell] = []
    theirs: dict[str, list[Cell]] = {}
    for cell in todo:
        run_id = owner.get(cell.id)
        (mine if run_id is None else theirs.setdefault(run_id, [])).append(cell)
    return mine, theirs


def _rank(run: RunState) -> tuple[int, str]:
    assert run.ticket is not None
    return run.ticket, run.run_id


def _complain(error: OSError) -> None:
    warnings.warn(
        f"the run record cannot be written, so others take this run for dead: {scrub(str(error))}", stacklevel=2
    )
