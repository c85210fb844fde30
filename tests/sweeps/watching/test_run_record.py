from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from sweeps.store.result_store import ResultsError, ResultStore
from sweeps.watching import run_record
from sweeps.watching.run_record import RunState, all_runs, announce, live_runs, read_run
from sweeps.watching.snapshot import Snapshot


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    made = ResultStore(tmp_path / "r")
    made.create()
    return made


def file_of(store: ResultStore, run_id: str) -> Path:
    return Path(store.location) / "runs" / f"{run_id}.json"


def content_of(store: ResultStore, run_id: str) -> dict[str, Any]:
    return json.loads(file_of(store, run_id).read_text())


def put_far_run(store: ResultStore, run_id: str) -> None:
    """A record of a run on another machine."""
    state = RunState(
        run_id=run_id, host="elsewhere", pid=1, process_start=1.0, command="c", git_commit=None, started_at=""
    )
    file_of(store, run_id).parent.mkdir(exist_ok=True)
    file_of(store, run_id).write_text(json.dumps(asdict(state)))


def set_age(store: ResultStore, run_id: str, seconds: float) -> None:
    at = time.time() - seconds
    os.utime(file_of(store, run_id), (at, at))


def test_a_record_says_who_runs_what_and_how_far(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_record, "BEAT_SECONDS", 0.02)
    command = "python sweeps/full_grid.py --results s3://key:hidden@bucket/r"
    with announce(store, "a", command, git_commit="abc") as record:
        (run,) = live_runs(store)
        assert (run.run_id, run.state, run.git_commit) == ("a", "running", "abc")
        assert (run.host, run.pid) == (socket.gethostname(), os.getpid())
        assert run.command == "python sweeps/full_grid.py --results s3://***@bucket/r"
        snapshot = Snapshot(n_cells=2, n_ok=1, elapsed=3.0)
        record.update(snapshot)
        deadline = time.monotonic() + 10
        while (now := live_runs(store)[0]).last_snapshot() != snapshot and time.monotonic() < deadline:
            time.sleep(0.01)
        assert now.last_snapshot() == snapshot
    assert live_runs(store) == []
    (run,) = all_runs(store)
    assert (run.state, run.last_snapshot()) == ("finished", snapshot)
    assert all(thread.name != "run-record" for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("error", "state"), [(KeyboardInterrupt, "stopped"), (SystemExit, "stopped"), (RuntimeError, "failed")]
)
def test_how_a_run_ends_is_its_state(store: ResultStore, error: type[BaseException], state: str) -> None:
    with pytest.raises(error), announce(store, "a", "c"):
        raise error
    assert content_of(store, "a")["state"] == state


def test_a_killed_driver_is_dead_at_once_and_its_record_stays(store: ResultStore) -> None:
    script = (
        "import sys, time\n"
        "from sweeps.watching.run_record import announce\n"
        "from sweeps.store.result_store import ResultStore\n"
        "with announce(ResultStore(sys.argv[1]), 'a', 'c'):\n"
        "    print('announced', flush=True)\n"
        "    time.sleep(60)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", script, store.location], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "announced\n"
    assert [run.run_id for run in live_runs(store)] == ["a"]
    driver.send_signal(signal.SIGSTOP)
    assert [run.run_id for run in live_runs(store)] == ["a"]  # it may go on at any time
    driver.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while psutil.Process(driver.pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.01)
    assert live_runs(store) == []
    driver.wait()
    assert live_runs(store) == []
    assert [run.state for run in all_runs(store)] == ["died"]
    assert content_of(store, "a")["state"] == "running"


def test_another_process_with_the_same_id_is_not_the_driver(store: ResultStore) -> None:
    with announce(store, "a", "c"):
        content = content_of(store, "a")
        older = {**content, "run_id": "b", "process_start": content["process_start"] - 60}
        file_of(store, "b").write_text(json.dumps(older))
        assert [run.state for run in all_runs(store)] == ["running", "died"]


@pytest.mark.parametrize("hours", [-48, 48])
def test_a_clock_that_jumps_leaves_a_run_of_this_machine_alive(
    store: ResultStore, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with announce(store, "a", "c"):
        set_age(store, "a", hours * 3600)
        boot, create = psutil.boot_time, psutil.Process.create_time
        # The system derives both from its clock.
        monkeypatch.setattr(psutil, "boot_time", lambda: boot() + hours * 3600)
        monkeypatch.setattr(psutil.Process, "create_time", lambda process: create(process) + hours * 3600)
        assert [run.run_id for run in live_runs(store)] == ["a"]


def test_a_run_of_another_machine_is_judged_by_the_clock_of_the_storage(store: ResultStore) -> None:
    put_far_run(store, "far")
    assert [run.run_id for run in live_runs(store)] == ["far"]
    set_age(store, "far", 50)
    assert [run.run_id for run in live_runs(store)] == ["far"]
    set_age(store, "far", 70)
    assert [run.state for run in all_runs(store)] == ["died"]
    set_age(store, "far", -3600)  # the clock of the storage was set back since
    assert [run.run_id for run in live_runs(store)] == ["far"]
    assert [file.name for file in Path(store.location, "runs").iterdir()] == ["far.json"]


def test_the_clock_of_this_machine_does_not_matter_where_the_folder_can_be_written(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_far_run(store, "far")
    monkeypatch.setattr(run_record.time, "time_ns", lambda: 0)
    set_age(store, "far", 70)
    assert [run.state for run in all_runs(store)] == ["died"]


def test_in_a_folder_that_may_only_be_read_the_clock_of_this_machine_decides(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(run_record, "put", refuse)
    put_far_run(store, "far")
    put_far_run(store, "gone")
    set_age(store, "gone", 70)
    assert {run.run_id: run.state for run in all_runs(store)} == {"far": "running", "gone": "died"}


SOUND = {
    "run_id": "a", "host": socket.gethostname(), "pid": 1, "process_start": 1.0, "command": "c", "git_commit": None,
    "started_at": "2026-01-01T00:00:00+00:00", "state": "running", "snapshot": None,
}  # fmt: skip
ODD = (None, "x", 1.5, -1, 2**70, True, [], [[1]], {}, float("nan"), float("inf"))


def told(store: ResultStore) -> tuple[ResultStore, list[str]]:
    """The same folder, and the lines that it tells."""
    lines: list[str] = []
    return ResultStore(store.location, tell=lines.append), lines


@pytest.mark.parametrize("text", ["", "{", "{}", '{"host": {}}', "[1]", "[" * 100_000, "\udcff", "null"])
def test_a_damaged_record_is_named_once_and_left_out(store: ResultStore, text: str) -> None:
    put_far_run(store, "sound")
    file_of(store, "a").write_text(text, errors="surrogateescape")
    again, lines = told(store)
    assert [run.run_id for run in (*all_runs(again), *live_runs(again))] == ["sound", "sound"]
    (line,) = lines
    assert "/runs/a.json: it is no run record" in line
    assert line.endswith("delete the file if its run is over")
    with pytest.raises(ResultsError, match=r"cannot read .*/runs/a\.json: it is no run record"):
        read_run(store, "a")


@pytest.mark.parametrize("field", SOUND)
def test_a_field_of_another_type_makes_a_record_damaged(store: ResultStore, field: str) -> None:
    put_far_run(store, "a")
    for value in ODD:
        file_of(store, "a").write_text(json.dumps({**SOUND, field: value}))
        again, lines = told(store)
        runs = all_runs(again)
        assert len(runs) + len(lines) == 1
        if runs:  # the value is valid, or is a snapshot that views report as of another version
            kinds = {
                "pid": int,
                "process_start": float,
                "snapshot": (dict, type(None)),
                "git_commit": (str, type(None)),
            }
            assert isinstance(getattr(runs[0], field), kinds.get(field, str))


def test_the_record_of_another_run_and_what_is_no_file_are_left_out(store: ResultStore) -> None:
    put_far_run(store, "sound")
    file_of(store, "copy").write_text(file_of(store, "sound").read_text())
    file_of(store, "folder").mkdir()
    os.mkfifo(file_of(store, "fifo"))
    again, lines = told(store)
    assert [run.run_id for run in all_runs(again)] == ["sound"]
    assert sorted(line.partition("/runs/")[2].partition(";")[0] for line in lines) == [
        "copy.json: it is the record of another run, 'sound'",
        "fifo.json: it is not a file",
        "folder.json: it is not a file",
    ]


def test_a_folder_that_cannot_be_written_is_found_out_at_once(store: ResultStore) -> None:
    Path(store.location, "runs").write_text("in the way")
    with pytest.raises(ResultsError, match="cannot write results to"), announce(store, "a", "c"):
        raise AssertionError("nothing may run")


def test_a_beat_that_cannot_be_written_is_reported_once(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_record, "BEAT_SECONDS", 0.02)
    with warnings.catch_warnings(record=True) as caught, announce(store, "a", "c"):
        warnings.simplefilter("always")
        calls = 0

        def refuse(*args: object) -> None:
            nonlocal calls
            calls += 1
            raise OSError("disk full")

        with monkeypatch.context() as patch:
            patch.setattr(run_record, "put", refuse)
            deadline = time.monotonic() + 10
            while calls < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
    assert calls >= 3
    assert [str(warning.message).rpartition(": ")[2] for warning in caught] == ["disk full"]
    assert content_of(store, "a")["state"] == "finished"


def test_a_snapshot_of_another_version_leaves_the_rest_of_the_record_readable(store: ResultStore) -> None:
    put_far_run(store, "far")
    file_of(store, "far").write_text(json.dumps({**content_of(store, "far"), "snapshot": {"n_cells": 1}}))
    (run,) = all_runs(store)
    with pytest.raises(ValueError, match="not a snapshot of this version"):
        run.last_snapshot()
    assert replace(run, snapshot=None).last_snapshot() is None
