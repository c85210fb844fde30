"""SIGINT and SIGTERM to real drivers on Ray: they stop within seconds, nothing fails, and the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest

from sweeps.store.result_store import ResultStore
from tests.cluster.nodes import ENVIRONMENT, ROOT
from tests.cluster.results import assert_complete, n_attempts

SECONDS = 25
"""Seconds in which a driver must end; on a quiet machine it takes four."""
GRID = ["sweeps/full_grid.py", "--preset", "labels", "--datasets", "digits", "--patterns", "uniform", "--workers", "3"]
GRID += ["--missing-rates", "0", "--methods", "tests.cells:Slow", "--address", "local", "--seeds"]


class Driver:
    """A command in a process group of its own, as a terminal starts it."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env={**os.environ, **ENVIRONMENT}, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 90
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self, number: signal.Signals, *, times: int = 1, group: bool = False) -> None:
        """Send signals; check that the driver ends in time, with the right code and the advice."""
        send = os.killpg if group else os.kill
        for _ in range(times):
            send(self.process.pid, number)
            time.sleep(0.2)
        try:
            printed, _ = self.process.communicate(timeout=SECONDS)
        finally:
            self.process.kill()
        assert self.process.returncode == 128 + number, printed
        assert "stopped; the same command goes on" in printed
        assert "Traceback" not in printed
        assert "***" not in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "times", "group"),
    [
        (signal.SIGINT, 1, False), (signal.SIGINT, 3, True), (signal.SIGTERM, 3, False), (signal.SIGTERM, 1, True),
    ],
)  # fmt: skip
def test_a_sweep_stops_and_goes_on(number: signal.Signals, times: int, group: bool, tmp_path: Path) -> None:
    results = tmp_path / "r"
    driver = Driver(*GRID, *map(str, range(40)), "--results", str(results))
    driver.wait_until(lambda: n_attempts(results) > 0)
    driver.stop(number, times=times, group=group)
    assert_complete(results, n_attempts(results))
    (record,) = (results / "runs").glob("*.json")
    assert json.loads(record.read_text())["state"] == "stopped"
    status = [sys.executable, "-m", "crowdml", "status", str(results)]
    assert " stopped " in subprocess.run(status, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    before = set(ResultStore(results).attempts())
    if times == 1:
        again = [*GRID, *map(str, range(len(before) + 1)), "--results", str(results)]
        done = subprocess.run([sys.executable, *again], cwd=ROOT, env={**os.environ, **ENVIRONMENT}, check=False)
        assert done.returncode == 0
        assert before < set(ResultStore(results).attempts())


@pytest.mark.parametrize("seconds", [0.3, 1.2])
def test_the_advice_comes_in_the_first_second_too(seconds: float, tmp_path: Path) -> None:
    driver = Driver(*GRID, "0", "--results", str(tmp_path / "r"))
    time.sleep(seconds)
    driver.stop(signal.SIGINT, times=3, group=True)


@pytest.mark.slow
def test_the_start_of_ray_is_stopped(tmp_path: Path) -> None:
    driver = Driver(*GRID, "0", "--results", str(tmp_path / "r"))
    time.sleep(4)
    driver.stop(signal.SIGTERM, times=3, group=True)


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["none", "pbt"])
def test_a_search_stops_and_writes_no_answer(scheduler: str, tmp_path: Path) -> None:
    out = tmp_path / "best.toml"
    driver = Driver(
        "sweeps/tune_method.py", "--method", "nnaqc", "--dataset", "digits", "--pattern", "uniform", "--noise-rate",
        "0.5", "--workers", "1", "--epochs", "4000", "--trials", "2", "--scheduler", scheduler, "--recipe", "lr",
        "--address", "local", "--out", str(out),
    )  # fmt: skip
    journal = out.with_suffix(".journal")
    driver.wait_until(journal.exists)
    time.sleep(12)
    driver.stop(signal.SIGINT)
    assert not out.exists()
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    (name,) = optuna.get_all_study_names(storage)
    trials = optuna.load_study(study_name=name, storage=storage).get_trials()
    assert not any("error" in trial.user_attrs for trial in trials)


@pytest.mark.slow
def test_a_training_in_several_processes_stops(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    features, labels = tmp_path / "x.npy", tmp_path / "labels.csv"
    np.save(features, rng.normal(size=(500, 20)))
    rows = [f"{task},{worker},{rng.integers(3)}" for task in range(500) for worker in range(3)]
    labels.write_text("\n".join(["task,worker,label", *rows]) + "\n")
    driver = Driver(
        "-m", "crowdml", "train", str(features), str(labels), "--workers", "2", "--cpus", "1", "--epochs", "100000",
        "--address", "local", "--out", str(tmp_path / "model"),
    )  # fmt: skip
    time.sleep(20)
    driver.process.send_signal(signal.SIGINT)
    printed, _ = driver.process.communicate(timeout=SECONDS)
    assert driver.process.returncode == 130, printed
    assert "the same command" in printed
    assert "Traceback" not in printed
