"""The command on a Ray of its own: the same results as without, and nothing lost, whatever fails."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from sweeps.store.result_store import ResultStore

ROOT = Path(__file__).parents[3]
DIGITS = ["--preset", "laptop", "--workers", "3", "--patterns", "uniform"]
FAULTS = {
    "tests.cells:Raises": "RuntimeError: a bug in the method",
    "tests.cells:NotANumber": "NonFiniteResultError: the posterior",
    "tests.cells:OutOfMemory": "MemoryError",
    "tests.cells:KillsItsProcess": "actor died unexpectedly",
}


def command(results: Path, *arguments: str) -> list[str]:
    return [
        sys.executable,
        "sweeps/full_grid.py",
        *arguments,
        "--results",
        str(results),
        "--address",
        "local",
    ]


def environment(**more: str) -> dict[str, str]:
    # The processes that Ray starts must find the methods of tests/cells.py.
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **more}


def run(results: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(results, *arguments), cwd=ROOT, env=environment(**more), capture_output=True, text=True, check=False
    )


def cells(results: Path) -> pd.DataFrame:
    return ResultStore(results).read_cells().sort_values("cell_id", ignore_index=True)


def test_cells_are_the_same_on_ray_and_without(tmp_path: Path) -> None:
    grid = [*DIGITS, "--methods", "em", "labnet", "--epochs", "2", "--n-train", "300", "--seeds", "0"]
    on_ray = run(tmp_path / "ray", *grid)
    assert on_ray.returncode == 0, on_ray.stderr
    assert "running on a new Ray cluster on this machine" in on_ray.stdout
    assert run(tmp_path / "inline", *grid, "--backend", "inline").returncode == 0
    same = ["cell_id", "method", "aggregation_error", "n_iter", "n_trainings", "data_fingerprint", "git_commit"]
    pd.testing.assert_frame_equal(cells(tmp_path / "ray")[same], cells(tmp_path / "inline")[same])
    curves = [ResultStore(tmp_path / where).read("curves").drop(columns=["attempt"]) for where in ("ray", "inline")]
    first, second = (table.sort_values(["cell_id", "metric", "step"], ignore_index=True) for table in curves)
    assert set(first["metric"]) == {"train_loss", "test_accuracy"}
    # Torch may add up in another order with another number of threads.
    pd.testing.assert_frame_equal(first, second, rtol=0.02)


def test_failures_are_rows_and_the_rest_goes_on(tmp_path: Path) -> None:
    results, flag = tmp_path / "r", tmp_path / "mended"
    methods = ["mv", *FAULTS, "tests.cells:RightOnceTold"]
    told = {"CROWDML_TEST_FLAG": str(flag)}
    grid = [*DIGITS, "--seeds", "0", "--methods", *methods, "--epochs", "1", "--n-train", "100"]
    first = run(results, *grid, **told)
    assert first.returncode == 3, first.stderr
    rows = cells(results)
    assert dict(zip(rows["method"], rows["status"], strict=True)) == dict.fromkeys(methods, "failed") | {"mv": "ok"}
    errors = dict(zip(rows["method"], rows["error"], strict=True))
    for method, reason in FAULTS.items():
        assert reason in errors[method]

    # The last line says how many, and how to run those again, and only those.
    last_line = first.stdout.strip().splitlines()[-1]
    start = "5 of 6 cells failed; retry only those: python sweeps/full_grid.py "
    assert last_line.startswith(start)
    again = shlex.split(last_line.removeprefix(start))
    flag.touch()
    second = run(results, *again[: again.index("--results")], "--retry-failed", **told)
    assert second.returncode == 3, second.stderr
    assert "6 cells, 1 done before, 5 to compute" in second.stdout
    rows = cells(results)
    mended = {"mv": "ok", "tests.cells:RightOnceTold": "ok"}
    assert dict(zip(rows["method"], rows["status"], strict=True)) == dict.fromkeys(methods, "failed") | mended
    times = Counter(ResultStore(results).attempts().values())
    assert {method: times[cell_id] for method, cell_id in zip(rows["method"], rows["cell_id"], strict=True)} == {
        method: 1 if method == "mv" else 2 for method in methods
    }


@pytest.mark.slow
def test_a_killed_driver_loses_nothing(tmp_path: Path) -> None:
    results = tmp_path / "r"
    grid = ["--preset", "labels", "--datasets", "digits", "--methods", "tests.cells:Slow", "--missing-rates", "0"]
    grid += ["--workers", "3", "6", "--seeds", *map(str, range(15))]
    n_cells = 3 * 2 * 15
    driver = subprocess.Popen(
        command(results, *grid), cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list((results / "cells").glob("part-*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    before = ResultStore(results).attempts()
    assert 0 < len(before) < n_cells
    again = run(results, *grid)
    assert again.returncode == 0, again.stderr
    attempts = ResultStore(results).attempts()
    assert set(before.items()) <= set(attempts.items())
    rows = cells(results)
    assert len(rows) == rows["cell_id"].nunique() == n_cells
    # Nothing is computed twice either, but for the two seconds of cells that each of its workers had in hand.
    assert len(attempts) <= n_cells + 2 * 8


@pytest.mark.slow
def test_several_train_workers_share_one_training(tmp_path: Path) -> None:
    made = run(tmp_path / "r", *DIGITS, "--methods", "mv", "labnet", "--seeds", "0", "--train-workers", "2")
    assert made.returncode == 0, made.stderr
    rows = cells(tmp_path / "r")
    assert (rows["test_accuracy"] > 0.5).all()
    assert (rows["n_trainings"][rows["method"] == "labnet"] >= 2).all()
    assert not (tmp_path / "r" / ".train").exists()


@pytest.mark.slow
def test_the_main_job(tmp_path: Path) -> None:
    """What `make sweep` runs, what it shows, and that a second run has nothing to do."""
    first = run(tmp_path / "r")
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("preset laptop: this machine has no GPU")
    assert "135/135 cells · 0 running · 0 failed" in first.stdout
    rows = cells(tmp_path / "r")
    means = rows.groupby(["pattern", "n_workers", "method"])[["aggregation_error", "test_accuracy"]].mean()
    for pattern in ("uniform", "bimodal"):
        for n_workers in (3, 5, 9):
            # A prior for each item beats one for all of them, and the network beats the crowd alone.
            error, accuracy = (means[name][pattern][n_workers] for name in ("aggregation_error", "test_accuracy"))
            assert error["labnet_instance"] < error["labnet"] - 0.05
            assert error["labnet_instance"] < error[["mv", "em", "minimax_entropy"]].min() - 0.05
            assert accuracy["labnet_instance"] > accuracy["labnet"] - 0.02
    again = run(tmp_path / "r")
    assert again.returncode == 0
    assert "all 135 cells are done; nothing to compute" in again.stdout
