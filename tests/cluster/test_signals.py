"""SIGINT and SIGTERM stop real drivers within seconds, lose nothing, and the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from sweeps.store.result_store import ResultStore
from sweeps.tuning.study import ERROR, open_storage
from sweeps.watching.run_record import all_runs
from tests.cluster.nodes import ENVIRONMENT, ROOT, Command, wait_until
from tests.cluster.processes import below, still_there, words
from tests.cluster.results import assert_complete, n_attempts

N_CELLS = 40
GRID = [
    "--preset", "labels", "--datasets", "digits", "--patterns", "uniform", "--workers", "3", "--missing-rates", "0",
    "--methods", "tests.cells:Slow", "--seeds", *map(str, range(N_CELLS)),
]  # fmt: skip
STOPS_WITHIN = 20.0
"""Seconds; most of them are Ray's own end on a machine that other tests use too."""

CASES = [
    pytest.param(None, signal.SIGINT, 1, False, id="inline"),
    pytest.param("local", signal.SIGINT, 1, False, id="ray-once"),
    pytest.param("local", signal.SIGINT, 3, True, id="ray-three-times-group"),
    pytest.param("local", signal.SIGTERM, 3, True, id="ray-term-three-times-group"),
]


def assert_stopped(command: Command, number: int) -> None:
    start = time.monotonic()
    code = command.wait(60)
    seconds = time.monotonic() - start
    assert code == 128 + number, command.output
    assert seconds < STOPS_WITHIN
    assert "Traceback" not in command.output
    assert "the same command" in command.output


@pytest.mark.slow
@pytest.mark.parametrize(("address", "number", "times", "group"), CASES)
def test_a_sweep_stops_and_goes_on(tmp_path: Path, address: str | None, number: int, times: int, group: bool) -> None:
    results = tmp_path / "r"
    command = Command(GRID, results, address)
    wait_until(lambda: n_attempts(results) > 0, of=command)
    rays = {pid: words(pid) for pid in below(command.process.pid)}
    command.signal(number, times=times, group=group)
    assert_stopped(command, number)
    wait_until(lambda: not still_there(rays), seconds=30)
    rows = ResultStore(results).read_cells()
    assert 0 < len(rows) < N_CELLS
    assert set(rows["status"]) == {"ok"}
    assert [run.state for run in all_runs(ResultStore(results))] == ["stopped"]
    again = Command(GRID, results, address)
    assert again.wait() == 0, again.output
    assert_complete(results, N_CELLS)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 2.5, 4.0])
def test_a_signal_while_a_sweep_starts_stops_the_sweep(tmp_path: Path, seconds: float) -> None:
    command = Command(GRID, tmp_path / "r", "local")
    time.sleep(seconds)
    command.signal(signal.SIGINT)
    assert_stopped(command, signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "times", "group"), [(signal.SIGINT, 1, True), (signal.SIGTERM, 3, False)])
def test_a_search_stops_without_an_answer_and_goes_on(tmp_path: Path, number: int, times: int, group: bool) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    options = [
        "--method", "em", "--dataset", "digits", "--pattern", "uniform", "--noise-rate", "0.3", "--workers", "5",
        "--seeds", *map(str, range(60)), "--trials", "12", "--study", storage, "--out", str(tmp_path / "best.toml"),
    ]  # fmt: skip
    command = Command(options, None, "local", script="sweeps/tune_method.py")
    wait_until(lambda: n_done(storage) > 1, of=command)
    command.signal(number, times=times, group=group)
    assert_stopped(command, number)
    assert not (tmp_path / "best.toml").exists()
    assert 1 < n_done(storage) < 12
    again = Command(options, None, None, script="sweeps/tune_method.py")
    assert again.wait() == 0, again.output
    assert n_done(storage) == 12
    assert (tmp_path / "best.toml").exists()


@pytest.mark.parametrize("seconds", [0.3, 1.2])
def test_late_signals_do_not_disturb_the_end(tmp_path: Path, seconds: float) -> None:
    command = Command(GRID, tmp_path / "r", "local")
    time.sleep(seconds)
    command.signal(signal.SIGINT, times=3, group=True)
    assert_stopped(command, signal.SIGINT)


@pytest.mark.slow
def test_a_population_stops_without_an_answer(tmp_path: Path) -> None:
    options = [
        "--method", "nnaqc", "--dataset", "digits", "--pattern", "uniform", "--noise-rate", "0.5", "--workers", "1",
        "--epochs", "4000", "--trials", "2", "--scheduler", "pbt", "--recipe", "lr", "--out", str(tmp_path / "b.toml"),
    ]  # fmt: skip
    command = Command(options, None, "local", script="sweeps/tune_method.py")
    wait_until(lambda: any("Member" in words(pid) for pid in below(command.process.pid)), of=command)
    command.signal(signal.SIGINT)
    assert_stopped(command, signal.SIGINT)
    assert not (tmp_path / "b.toml").exists()
    assert n_done(str(tmp_path / "b.journal")) == 0


@pytest.mark.slow
def test_a_training_in_several_processes_stops(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    features, labels = tmp_path / "x.npy", tmp_path / "labels.csv"
    np.save(features, rng.normal(size=(500, 20)))
    rows = [f"{task},{worker},{rng.integers(3)}" for task in range(500) for worker in range(3)]
    labels.write_text("\n".join(["task,worker,label", *rows]) + "\n")
    options = [str(features), str(labels), "--workers", "2", "--cpus", "1", "--epochs", "100000"]
    command = subprocess.Popen(
        [sys.executable, "-m", "crowdml", "train", *options, "--address", "local", "--out", str(tmp_path / "model")],
        cwd=ROOT, env={**os.environ, **ENVIRONMENT}, process_group=0,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not any("RayTrainWorker" in words(pid) for pid in below(command.pid)) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(command.pid, signal.SIGINT)
        printed, _ = command.communicate(timeout=STOPS_WITHIN)
    finally:
        command.kill()
    assert command.returncode == 130, printed
    assert "the same command continues" in printed
    assert "Traceback" not in printed


def n_done(storage: str) -> int:
    with suppress(ValueError, KeyError, SQLAlchemyError):
        opened = open_storage(storage)
        (name,) = optuna.get_all_study_names(opened)
        trials = optuna.load_study(study_name=name, storage=opened).get_trials(deepcopy=False)
        assert not any(ERROR in trial.user_attrs for trial in trials)  # a trial that was given back has no error
        return sum(trial.state is TrialState.COMPLETE for trial in trials)
    return 0
