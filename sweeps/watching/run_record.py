"""Announce a run in its results folder, so that other processes see that the run is at work and how far it is.

    RESULTS/runs/RUN_ID.json    the run and its last snapshot; rewritten every few seconds

Run records are for people and for progress views.  No computation depends on them.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

import psutil
from pyarrow import fs
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from crowdml.support.heartbeat import heartbeat
from sweeps.store.locations import join, locate, put
from sweeps.store.result_store import ResultsError, ResultStore
from sweeps.store.scrubbing import scrub
from sweeps.watching.snapshot import RECORD_CONFIG, Number, Snapshot, Text, first_error

FOLDER = "runs"
BEAT_SECONDS, REMOTE_BEAT_SECONDS = 5.0, 10.0
SILENT_SECONDS = 60.0
"""A run on another machine counts as dead when its record is older than this."""
State = Literal["running", "finished", "stopped", "failed", "died"]
_RUNNING: State = "running"
_DIED: State = "died"


@dataclass(frozen=True, kw_only=True)
class RunState:
    """The content of a run record.

    Args:
        host, pid: machine name and process id of the driver.
        process_start: seconds from the start of that machine to the start of the driver.
        command: the command line, without secrets.
        git_commit: of the code; None if unknown.
        started_at: by the clock of that machine.
        state: "running", "finished", "stopped" (by the user) or "failed"; "died" if the record says "running" and the
            driver is gone.
        snapshot: the last `Snapshot.to_dict`; None before the first.
    """

    __pydantic_config__: ClassVar[ConfigDict] = RECORD_CONFIG

    run_id: str
    host: Text
    pid: Annotated[int, Field(ge=0, lt=2**31)]
    process_start: Number
    command: Text
    git_commit: Text | None
    started_at: Text
    state: State = _RUNNING
    snapshot: dict[str, Any] | None = None

    @property
    def is_alive(self) -> bool:
        """Whether the run is at work now."""
        return self.state == _RUNNING

    def last_snapshot(self) -> Snapshot | None:
        """Return the last snapshot; None before the first.

        Raises:
            ValueError: another version of crowdml wrote the snapshot.
        """
        return None if self.snapshot is None else Snapshot.from_dict(self.snapshot)


class RunRecord:
    """The record of this run; `announce` creates it."""

    def __init__(self, store: ResultStore, state: RunState) -> None:
        self._store, self._state = store, state
        self._complained = False

    def update(self, snapshot: Snapshot) -> None:
        """Take the newest snapshot, which the next beat writes.  This method is a sink of Progress."""
        self._state = replace(self._state, snapshot=snapshot.to_dict())

    def write(self) -> None:
        """Write the record.

        Raises:
            OSError: the record cannot be written.
        """
        if not self._store.exists():
            # Writing would create a folder that is no results folder.
            raise OSError(f"{self._store.public_location} is no longer a results folder")
        put(*_file(self._store, self._state.run_id), json.dumps(asdict(self._state)).encode())

    def beat(self) -> None:
        """Write the record; warn once if that fails."""
        try:
            self.write()
        except OSError as error:
            if not self._complained:
                self._complained = True
                warnings.warn(
                    f"the run record cannot be written, so status shows this run as dead: {scrub(str(error))}",
                    stacklevel=2,
                )

    def end(self, state: State) -> None:
        """Write how the run ended."""
        self._state = replace(self._state, state=state)
        self.beat()


@contextmanager
def announce(store: ResultStore, run_id: str, command: str, *, git_commit: str | None = None) -> Iterator[RunRecord]:
    """Announce a run in an existing results folder while the block runs; the record then says how the block ended.

    Secrets are removed from the command line.

    Raises:
        ResultsError: the folder cannot be written.
    """
    state = RunState(
        run_id=run_id,
        host=socket.gethostname(),
        pid=os.getpid(),
        process_start=_start(psutil.Process()),
        command=scrub(command),
        git_commit=git_commit,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    record = RunRecord(store, state)
    try:
        record.write()
    except OSError as error:
        raise ResultsError(f"cannot write results to {store.public_location}: {scrub(str(error))}") from error
    ended: State = "failed"
    try:
        with heartbeat(record.beat, seconds=BEAT_SECONDS if store.is_local else REMOTE_BEAT_SECONDS, name="run-record"):
            yield record
        ended = "finished"
    except (KeyboardInterrupt, SystemExit):
        ended = "stopped"
        raise
    finally:
        record.end(ended)


def all_runs(store: ResultStore) -> list[RunState]:
    """Return all runs of a results folder, sorted by id.

    A damaged record is left out and named once, see `ResultStore.name_damage`.

    Raises:
        ResultsError: the folder cannot be read.
    """
    filesystem, folder = locate(store.location_of(FOLDER))
    try:
        infos = filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    except OSError as error:
        raise ResultsError(f"cannot read {store.public_location}/{FOLDER}: {scrub(str(error))}") from error
    names = [info.base_name for info in infos if info.extension == "json" and not info.base_name.startswith(".")]
    runs = []
    for name in sorted(names):
        try:
            runs.append(read_run(store, name.removesuffix(".json")))
        except _DamagedRecordError as error:
            store.name_damage(f"{FOLDER}/{name}", error.reason)
        except FileNotFoundError:
            continue  # Somebody has deleted it just now.
    return runs


def live_runs(store: ResultStore) -> list[RunState]:
    """Return the runs that are at work, sorted by id; see `all_runs`."""
    return [run for run in all_runs(store) if run.is_alive]


def read_run(store: ResultStore, run_id: str) -> RunState:
    """Return the record of a run; the state is "died" if the record says "running" and the driver is gone.

    Raises:
        FileNotFoundError: there is no record of the run.
        ResultsError: the record cannot be read.
    """
    filesystem, path = _file(store, run_id)
    file = f"{store.public_location}/{FOLDER}/{run_id}.json"
    try:
        if filesystem.get_file_info(path).type not in (fs.FileType.File, fs.FileType.NotFound):
            raise _DamagedRecordError(file, "it is not a file")
        with filesystem.open_input_stream(path) as stream:
            run = _reader().validate_json(stream.read())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _DamagedRecordError(file, scrub(str(error))) from error
    except ValidationError as error:
        raise _DamagedRecordError(file, f"it is no run record of this version ({first_error(error)})") from error
    if run.run_id != run_id:
        raise _DamagedRecordError(file, f"it is the record of another run, {run.run_id!r}")
    if run.is_alive and not (_runs_here(run) if run.host == socket.gethostname() else _is_fresh(store, run_id)):
        return replace(run, state=_DIED)
    return run


class _DamagedRecordError(ResultsError):
    """A run record is not a file, or crowdml cannot have written its content."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(file, reason)
        self.reason = f"{reason}; delete the file if its run is over"

    def __str__(self) -> str:
        return f"cannot read {self.args[0]}: {self.reason}"


@cache
def _reader() -> TypeAdapter[RunState]:
    return TypeAdapter(RunState)


def _file(store: ResultStore, run_id: str) -> tuple[fs.FileSystem, str]:
    return locate(join(store.location_of(FOLDER), f"{run_id}.json"))


def _start(process: psutil.Process) -> float:
    """Return the seconds from the start of the machine to the start of a process; clock changes do not matter."""
    return process.create_time() - psutil.boot_time()


def _runs_here(run: RunState) -> bool:
    """Return whether the driver runs on this machine.  Its process id may belong to another process by now."""
    try:
        process = psutil.Process(run.pid)
        return process.status() != psutil.STATUS_ZOMBIE and abs(_start(process) - run.process_start) < 2.0
    except (psutil.Error, ValueError, TypeError, OverflowError):
        return False


def _is_fresh(store: ResultStore, run_id: str) -> bool:
    """Return whether a record is recent by the clock of the storage, which a file written now shows."""
    filesystem, path = _file(store, run_id)
    probe = f"{path}.{uuid.uuid4().hex}.part"
    now_ns: int | None = None
    with suppress(OSError):
        put(filesystem, probe, b"")
        now_ns = filesystem.get_file_info(probe).mtime_ns
        filesystem.delete_file(probe)
    written_ns = filesystem.get_file_info(path).mtime_ns
    # If this process may not write to the folder, only this machine's clock is left.
    return written_ns is not None and ((now_ns or time.time_ns()) - written_ns) / 1e9 <= SILENT_SECONDS
