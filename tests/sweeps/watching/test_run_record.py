from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crowdml.experiment.cell import Cell
from sweeps.store.result_store import ResultsError, ResultStore
from sweeps.watching import run_files, run_record
from sweeps.watching.processes import Process, is_running, this_process
from sweeps.watching.run_files import RunState, Watcher, all_runs, live_runs, write_claims, write_state
from sweeps.watching.run_record import announce, leave_to_others
from sweeps.watching.snapshot import Snapshot
from tests.cells import cell

CELLS = [cell(seed=seed) for seed in range(6)]
FAR = Process(host="elsewhere", boot="another", pid=1, start=1)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    made = ResultStore(tmp_path / "r")
    made.create()
    return made


def file_of(store: ResultStore, run_id: str) -> Path:
    return Path(store.location) / "runs" / f"{run_id}.json"


def content_of(store: ResultStore, run_id: str) -> dict[str, Any]:
    return json.loads(file_of(store, run_id).read_text())


def seeds(cells: list[Cell]) -> list[int]:
    return [one.seed for one in cells]


def far_run(store: ResultStore, run_id: str, *, claims: list[Cell] = CELLS, **changes: Any) -> RunState:
    state = RunState(run_id=run_id, process=FAR, command="c", git_commit=None, ticket=1, beat=1)
    state = replace(state, **changes)
    write_claims(store, run_id, [one.id for one in claims])
    write_state(store, state)
    return state


def set_age(store: ResultStore, run_id: str, seconds: float) -> None:
    at = time.time() - seconds
    os.utime(file_of(store, run_id), (at, at))


def test_a_record_says_who_runs_what_and_how_far(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_record, "BEAT_SECONDS", 0.02)
    command = "python sweeps/full_grid.py --results s3://key:hidden@bucket/r"
    with announce(store, "a", command, CELLS[:2], git_commit="abc") as record:
        (run,) = live_runs(store)
        assert (run.run_id, run.state, run.process, run.git_commit) == ("a", "running", this_process(), "abc")
        assert run.command == "python sweeps/full_grid.py --results s3://***@bucket/r"
        assert json.loads((Path(store.location) / "runs" / "a.claims.json").read_text()) == sorted(
            one.id for one in CELLS[:2]
        )
        snapshot = Snapshot(n_cells=2, n_ok=1, elapsed=3.0)
        record.update(snapshot)
        deadline = time.monotonic() + 10
        while (now := live_runs(store)[0]).last_snapshot() != snapshot and time.monotonic() < deadline:
            time.sleep(0.01)
        assert now.last_snapshot() == snapshot
        assert now.beat > run.beat
    assert live_runs(store) == []
    (run,) = all_runs(store)
    assert (run.state, run.last_snapshot()) == ("finished", snapshot)
    assert all(thread.name != "run-record" for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("error", "state"), [(KeyboardInterrupt, "stopped"), (SystemExit, "stopped"), (RuntimeError, "failed")]
)
def test_how_a_run_ends_is_its_state(store: ResultStore, error: type[BaseException], state: str) -> None:
    with pytest.raises(error), announce(store, "a", "c", CELLS):
        raise error
    assert content_of(store, "a")["state"] == state


def test_a_killed_driver_is_dead_at_once_and_its_record_stays(store: ResultStore) -> None:
    script = (
        "import sys, time\n"
        "from sweeps.watching.run_record import announce\n"
        "from sweeps.store.result_store import ResultStore\n"
        "with announce(ResultStore(sys.argv[1]), 'a', 'c', []):\n"
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
    driver.wait()
    assert live_runs(store) == []
    assert [run.state for run in all_runs(store)] == ["died"]
    assert content_of(store, "a")["state"] == "running"


def test_a_process_id_that_was_given_again_is_another_process() -> None:
    me = this_process()
    assert is_running(me)
    assert is_running(replace(me, start=(me.start or 0) + 1)) is False
    assert is_running(FAR) is None
    assert is_running(replace(me, boot="an earlier start of this machine")) is None


@pytest.mark.parametrize("hours", [-48, 48])
def test_a_clock_that_jumps_leaves_a_run_of_this_machine_alive(store: ResultStore, hours: int) -> None:
    with announce(store, "a", "c", CELLS):
        set_age(store, "a", hours * 3600)
        assert [run.run_id for run in live_runs(store)] == ["a"]


def test_a_run_of_another_machine_is_judged_by_the_clock_of_the_storage(store: ResultStore) -> None:
    far_run(store, "far")
    assert [run.run_id for run in live_runs(store)] == ["far"]
    set_age(store, "far", 50)
    assert [run.run_id for run in live_runs(store)] == ["far"]
    set_age(store, "far", 70)
    assert [run.state for run in all_runs(store)] == ["died"]
    set_age(store, "far", -3600)  # the storage's clock was set back since
    assert [run.run_id for run in live_runs(store)] == ["far"]
    assert not list(Path(store.location, "runs").glob(".*"))


def test_a_record_whose_beat_goes_on_is_alive_whatever_the_clock_says(store: ResultStore) -> None:
    state = far_run(store, "far")
    watcher = Watcher(store)
    set_age(store, "far", 10_000)
    assert [run.state for run in watcher.look()] == ["died"]
    write_state(store, replace(state, beat=2))
    set_age(store, "far", 10_000)
    assert [run.state for run in watcher.look()] == ["running"]
    assert [run.state for run in watcher.look()] == ["running"]


def test_in_a_folder_that_may_only_be_read_the_beat_is_awaited(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = far_run(store, "far")
    far_run(store, "dead")

    def sleep(seconds: float) -> None:
        assert seconds > 2 * run_record.REMOTE_BEAT_SECONDS
        Path(file_of(store, "far")).write_text(json.dumps({**content_of(store, "far"), "beat": state.beat + 1}))

    def refuse(*args: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(run_files, "put", refuse)
    monkeypatch.setattr(run_files.time, "sleep", sleep)
    assert {run.run_id: run.state for run in all_runs(store)} == {"far": "running", "dead": "died"}


def test_cells_are_left_to_the_run_that_came_first(store: ResultStore) -> None:
    with ExitStack() as stack:
        first = ExitStack()
        a = first.enter_context(announce(store, "z", "c", CELLS[:3]))
        b = stack.enter_context(announce(store, "y", "c", CELLS[2:5]))
        c = stack.enter_context(announce(store, "x", "c", CELLS))
        assert leave_to_others(a, CELLS[:3]) == (CELLS[:3], {})
        assert leave_to_others(b, CELLS[2:5]) == (CELLS[3:5], {"z": [CELLS[2]]})
        mine, theirs = leave_to_others(c, CELLS)
        assert seeds(mine) == [5]
        assert {run_id: seeds(cells) for run_id, cells in theirs.items()} == {"z": [0, 1, 2], "y": [3, 4]}
        assert [(other.state.run_id, other.is_earlier, len(other.overlap)) for other in b.others()] == [
            ("z", True, 1),
            ("x", False, 3),
        ]
        first.close()
        # What the first run did not do goes to the next that claims it, and to that one alone.
        assert leave_to_others(b, [CELLS[2]]) == ([CELLS[2]], {})
        mine, theirs = leave_to_others(c, CELLS[:3])
        assert (seeds(mine), {run_id: seeds(cells) for run_id, cells in theirs.items()}) == ([0, 1], {"y": [2]})


def test_drivers_that_start_at_the_same_moment_share_the_cells(store: ResultStore) -> None:
    n_runs = 6
    together, all_split = threading.Barrier(n_runs), threading.Barrier(n_runs)
    taken: dict[int, list[Cell]] = {}

    def drive(number: int) -> None:
        together.wait()
        with announce(store, f"run{number}", "c", CELLS) as record:
            taken[number], _ = leave_to_others(record, CELLS)
            all_split.wait()

    for _ in range(5):
        threads = [threading.Thread(target=drive, args=(number,)) for number in range(n_runs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(one.seed for cells in taken.values() for one in cells) == seeds(CELLS)
        for record in Path(store.location, "runs").iterdir():
            record.unlink()


def test_a_dead_run_holds_nothing_back(store: ResultStore) -> None:
    far_run(store, "far")
    with announce(store, "a", "c", CELLS) as record:
        assert leave_to_others(record, CELLS) == ([], {"far": CELLS})
        set_age(store, "far", 70)
        assert leave_to_others(record, CELLS) == (CELLS, {})


def test_a_run_that_starts_is_waited_for(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    state = far_run(store, "far", ticket=None)
    with announce(store, "a", "c", CELLS) as record:
        timer = threading.Timer(0.5, write_state, (store, replace(state, ticket=2)))
        timer.start()
        assert leave_to_others(record, CELLS) == (CELLS, {})
        assert not timer.is_alive()
        write_state(store, state)
        monkeypatch.setattr(run_record, "_DRAWING_SECONDS", 0.3)
        with pytest.raises(ResultsError, match=r"run far \(process 1 on elsewhere\) has been starting"):
            leave_to_others(record, CELLS)


def test_a_damaged_record_says_what_to_do(store: ResultStore) -> None:
    with announce(store, "a", "c", CELLS):
        pass
    for text in ("{", "{}", '{"process": {}}'):
        file_of(store, "a").write_text(text)
        with pytest.raises(ResultsError, match=r"runs/a.json.*if its run is over, delete it"):
            all_runs(store)


def test_a_folder_that_cannot_be_written_is_found_out_at_once(store: ResultStore) -> None:
    Path(store.location, "runs").write_text("in the way")
    with pytest.raises(ResultsError, match="cannot write results to"), announce(store, "a", "c", CELLS):
        raise AssertionError("nothing may run")


def test_a_beat_that_cannot_be_written_is_reported_once(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_record, "BEAT_SECONDS", 0.02)
    with warnings.catch_warnings(record=True) as caught, announce(store, "a", "c", CELLS):
        warnings.simplefilter("always")
        calls = 0

        def refuse(*args: object) -> None:
            nonlocal calls
            calls += 1
            raise OSError("disk full")

        with monkeypatch.context() as patch:
            patch.setattr(run_record, "write_state", refuse)
            deadline = time.monotonic() + 10
            while calls < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
    assert calls >= 3
    assert [str(warning.message).rpartition(": ")[2] for warning in caught] == ["disk full"]
    assert content_of(store, "a")["state"] == "finished"
