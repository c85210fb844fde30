"""The files that runs keep in their results folder, and which of those runs are alive.

    RESULTS/runs/RUN_ID.json           what the run is and how far; rewritten every few seconds while it lasts
    RESULTS/runs/RUN_ID.claims.json    ids of the cells that it computes; written once, first

Whether a run is alive is never a matter of comparing the clocks of two machines.  On its own machine its process is
looked for.  Elsewhere the storage's clock stands on both sides: the age of the record is taken against a file just
written there, and a record whose beat goes on is alive whatever the clock says.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pyarrow import fs

from sweeps.store.locations import locate, put
from sweeps.store.parts import ResultsError
from sweeps.store.result_store import ResultStore
from sweeps.store.scrubbing import scrub
from sweeps.watching.processes import Process, is_running
from sweeps.watching.snapshot import Snapshot

FOLDER = "runs"
SILENT_SECONDS = 60.0
"""A run of another machine is dead when its record was not rewritten for so long."""
_RUNNING, _DIED = "running", "died"
_WATCH_SECONDS = 25.0


@dataclass(frozen=True, kw_only=True)
class RunState:
    """What a run says of itself.

    Args:
        run_id: its name.
        process: its driver.
        command: without secrets.
        git_commit: of the code, None where not known.
        state: "running", "finished", "stopped" (by the user) or "failed"; "died" is one that says "running" and is not.
        ticket: those of a lower one came first; None while it is being drawn.
        beat: how often the record was written.
        started_at: by the clock of its machine, for people only.
        snapshot: its last `Snapshot.to_dict`, None before the first.
    """

    run_id: str
    process: Process
    command: str
    git_commit: str | None
    state: str = _RUNNING
    ticket: int | None = None
    beat: int = 0
    started_at: str = ""
    snapshot: dict[str, Any] | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it computes."""
        return self.state == _RUNNING

    def last_snapshot(self) -> Snapshot | None:
        """Its last snapshot; None before the first.

        Raises:
            ValueError: it is one of another version of crowdml.
        """
        return None if self.snapshot is None else Snapshot.from_dict(self.snapshot)


def write_state(store: ResultStore, run: RunState) -> None:
    """Write a run's record over the one before.

    Raises:
        OSError: it cannot be written.
    """
    _write(store, f"{run.run_id}.json", asdict(run))


def write_claims(store: ResultStore, run_id: str, cell_ids: Iterable[str]) -> None:
    """Write which cells a run computes.

    Raises:
        OSError: it cannot be written.
    """
    _write(store, f"{run_id}.claims.json", sorted(cell_ids))


def read_claims(store: ResultStore, run_id: str) -> frozenset[str]:
    """Ids of the cells that the run computes, or left to others.

    Raises:
        ResultsError: the file is not there or damaged.
    """
    return frozenset(_read(store, f"{run_id}.claims.json"))


@dataclass
class Watcher:
    """Looks at the runs of a results folder, again and again.

    Args:
        store: the folder.
    """

    store: ResultStore
    _over: dict[str, RunState] = field(default_factory=dict)
    _beats: dict[str, tuple[int, float]] = field(default_factory=dict)

    def look(self) -> list[RunState]:
        """All runs, in the order of their ids; those that died say so.

        Raises:
            ResultsError: a record cannot be read.
        """
        runs = [self._over.get(run_id) or self._read(run_id) for run_id in self._run_ids()]
        self._over |= {run.run_id: run for run in runs if not run.is_alive}
        return self._judge(runs)

    def _run_ids(self) -> list[str]:
        filesystem, path = locate(self.store.location_of(FOLDER))
        try:
            infos = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
        except OSError as error:
            raise ResultsError(f"cannot read {self.store.public_location}/{FOLDER}: {scrub(str(error))}") from error
        names = [info.base_name for info in infos]
        return sorted(
            name.removesuffix(".json")
            for name in names
            if name.endswith(".json") and not name.endswith(".claims.json") and not name.startswith(".")
        )

    def _read(self, run_id: str) -> RunState:
        content = _read(self.store, f"{run_id}.json")
        try:
            return RunState(**{**content, "process": Process(**content["process"])})
        except (TypeError, KeyError) as error:
            raise _damaged(self.store, f"{run_id}.json", error) from error

    def _judge(self, runs: list[RunState]) -> list[RunState]:
        seen = {run.run_id: is_running(run.process) for run in runs if run.is_alive}
        far = [run for run in runs if run.is_alive and seen[run.run_id] is None]
        heard = self._heard(far)
        return [
            replace(run, state=_DIED) if run.is_alive and not (seen[run.run_id] or run.run_id in heard) else run
            for run in runs
        ]

    def _heard(self, far: list[RunState]) -> set[str]:
        """Of runs of other machines, those that gave a sign of life lately."""
        if not far:
            return set()
        now = time.monotonic()
        changed = {run.run_id for run in far if self._beats.get(run.run_id, (run.beat, 0.0))[0] != run.beat}
        for run in far:
            if run.run_id in changed or run.run_id not in self._beats:
                self._beats[run.run_id] = run.beat, now if run.run_id in changed else -float("inf")
        lately = {run.run_id for run in far if now - self._beats[run.run_id][1] < SILENT_SECONDS}
        silent = [run for run in far if run.run_id not in lately]
        return lately | self._young(silent) if silent else lately

    def _young(self, runs: list[RunState]) -> set[str]:
        """Those whose record is hardly older than a file written just now, by the clock of the storage."""
        filesystem, path = locate(self.store.location_of(FOLDER))
        probe = f"{path}/.probe-{uuid.uuid4().hex}"
        try:
            put(filesystem, probe, b"")
        except OSError:
            # A folder that may only be read: see whether the beat goes on.
            time.sleep(_WATCH_SECONDS)
            return {run.run_id for run in runs if self._read(run.run_id).beat != run.beat}
        files = [probe, *(f"{path}/{run.run_id}.json" for run in runs)]
        try:
            now, *times = (info.mtime_ns for info in filesystem.get_file_info(files))
        finally:
            with suppress(OSError):
                filesystem.delete_file(probe)
        return {
            run.run_id
            for run, written in zip(runs, times, strict=True)
            if written is not None and now is not None and (now - written) / 1e9 <= SILENT_SECONDS
        }


def all_runs(store: ResultStore) -> list[RunState]:
    """All runs of a results folder, in the order of their ids; those that died say so.

    Raises:
        ResultsError: a record cannot be read.
    """
    return Watcher(store).look()


def live_runs(store: ResultStore) -> list[RunState]:
    """Those that compute now.

    Raises:
        ResultsError: a record cannot be read.
    """
    return [run for run in all_runs(store) if run.is_alive]


def _write(store: ResultStore, name: str, content: Any) -> None:
    filesystem, path = locate(store.location_of(FOLDER))
    put(filesystem, f"{path}/{name}", json.dumps(content).encode())


def _read(store: ResultStore, name: str) -> Any:
    filesystem, path = locate(store.location_of(FOLDER))
    try:
        with filesystem.open_input_stream(f"{path}/{name}") as stream:
            return json.loads(stream.read())
    except (OSError, ValueError) as error:
        raise _damaged(store, name, error) from error


def _damaged(store: ResultStore, name: str, error: Exception) -> ResultsError:
    reason = scrub(str(error))
    return ResultsError(f"cannot read {store.public_location}/{FOLDER}/{name}: {reason}; if its run is over, delete it")
