from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback

from crowdml.cli.main import main
from crowdml.learning.loop import TrainingDivergedError
from sweeps.running import data_parallel
from sweeps.running.data_parallel import WorkersFailedError
from tests.crowdml.training.folders.pictures import imagenet
from tests.crowds import simulated

ROOT = Path(__file__).parents[3]
TWO = "--workers 2 --cpus 1 --address local"


def run(out: Path, line: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "crowdml", "train", *line.split(), "--out", str(out), "--device", "cpu"]
    # Run in another folder than the project's, so that relative paths have to reach the workers.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=out.parent, env=environment, capture_output=True, text=True, check=False)


def assert_the_same(one: Path, two: Path) -> None:
    reports = [json.loads((place / "report.json").read_text()) for place in (one, two)]
    assert [report["n_processes"] for report in reports] == [1, 2]
    assert reports[0]["test"]["accuracy"] == reports[1]["test"]["accuracy"] > 0.9
    curves, predictions, of_test = (
        [pd.read_csv(place / f"{name}.csv") for place in (one, two)]
        for name in ("curves", "predictions", "test_predictions")
    )
    for first, second in (curves, predictions, of_test):
        pd.testing.assert_frame_equal(first, second, rtol=0, atol=1e-4)
    weights = torch.load(two / "weights.pt", weights_only=True)
    for name, value in torch.load(one / "weights.pt", weights_only=True).items():
        assert weights[name].numpy() == pytest.approx(value.numpy(), abs=1e-4), name
    assert not (two / ".train").exists()
    assert not (two / "checkpoints").exists()


@pytest.mark.slow
def test_two_workers_train_the_same_network_on_streamed_images_as_one(tmp_path: Path) -> None:
    imagenet(tmp_path / "items", n_train=10)
    # Every process augments its own share with draws of its own, so images are left as they are here.
    small = "items --stream --side 16 --method mv --network lenet --epochs 3 --batch-size 10 --optimizer sgd"
    for name, more in {"one": "", "two": TWO}.items():
        done = run(tmp_path / name, f"{small} {more}")
        assert done.returncode == 0, done.stderr
    assert_the_same(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_two_workers_carry_out_a_joint_method_on_features_as_one(tmp_path: Path) -> None:
    crowd, truth = simulated(120, 5, 3)
    features = np.random.default_rng(0).normal(size=(120, 4))
    features[np.arange(120), truth] += 4
    np.save(tmp_path / "x.npy", features)
    crowd.to_frame().to_csv(tmp_path / "answers.csv", index=False)
    pd.DataFrame({"task": np.arange(120), "label": truth}).to_csv(tmp_path / "truth.csv", index=False)
    small = "x.npy answers.csv --test x.npy --test-labels truth.csv --method labnet --method-options max_iter=2"
    small += " --network mlp256 --epochs 6 --lr 0.02 --batch-size 32"  # no dropout, whose draws differ by process
    for name, more in {"one": "", "two": TWO}.items():
        done = run(tmp_path / name, f"{small} {more}")
        assert done.returncode == 0, done.stderr
    assert_the_same(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_what_a_worker_finds_wrong_is_one_line(tmp_path: Path) -> None:
    imagenet(tmp_path / "items", n_train=4)
    small = "items --stream --side 16 --method mv --network lenet --epochs 2 --optimizer sgd --lr 1e14"
    done = run(tmp_path / "out", f"{small} {TWO}")
    assert done.returncode == 2
    assert "the training loss is" in done.stderr.splitlines()[-1]
    many = run(tmp_path / "out", f"{small} --workers 64 --cpus 4 --address local")
    assert many.returncode == 2
    assert "64 workers need 256 CPUs and the cluster has" in many.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_lost_worker_is_one_line_and_the_same_command_goes_on(tmp_path: Path) -> None:
    imagenet(tmp_path / "items", n_train=10)
    # Keep the state after every epoch, and be slow enough to be killed.
    (tmp_path / "sitecustomize.py").write_text(
        "import time\n"
        "from crowdml.learning.checkpoint import Checkpoint\n"
        "write = Checkpoint.write\n"
        "Checkpoint.is_due = True\n"
        "Checkpoint.write = lambda self, state: (write(self, state), time.sleep(0.5))\n"
    )
    out = tmp_path / "out"
    line = f"items --stream --side 16 --method mv --network lenet --epochs 20 --batch-size 10 {TWO}"
    command = [sys.executable, "-m", "crowdml", "train", *line.split(), "--out", str(out), "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as driver:
        state = out / "checkpoints" / "training-000.pt"
        while not state.exists():
            assert driver.poll() is None
            time.sleep(0.1)
        workers = [
            child for child in psutil.Process(driver.pid).children(recursive=True)
            if "RayTrainWorker" in " ".join(child.cmdline())
        ]  # fmt: skip
        workers[0].kill()
        _, err = driver.communicate(timeout=120)
    assert driver.returncode == 1
    assert re.search(r"^crowdml train: error: a worker failed: .*; the same command goes on$", err, re.MULTILINE), err
    assert "Traceback" not in err
    again = run(out, line)
    assert again.returncode == 0, again.stderr
    assert "continuing the run in" in again.stdout
    assert sorted(place.name for place in out.iterdir() if place.name.startswith((".", "checkpoints"))) == []


def test_a_lost_worker_is_no_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(20, 3)))
    simulated(20, 3, 2)[0].to_frame().to_csv(tmp_path / "answers.csv", index=False)

    def lose(*_, **__):
        raise WorkersFailedError("a worker failed: it was killed; the same command goes on")

    monkeypatch.setattr(data_parallel, "run_in_processes", lose)
    line = f"train {tmp_path / 'x.npy'} {tmp_path / 'answers.csv'} --method mv --out {tmp_path / 'out'} --workers 2"
    assert main(line.split()) == 1
    error = "crowdml train: error: a worker failed: it was killed; the same command goes on\n"
    assert capsys.readouterr().err.endswith(error)


def test_a_failure_of_a_worker_is_one_line_and_its_traceback_a_file(tmp_path: Path) -> None:
    @dataclass
    class Job:
        out: Path

    def reason(cause: Exception) -> Exception:
        failure = UserExceptionWithTraceback(cause, "Traceback\n  here\nCudaError: no memory left")
        return data_parallel._reason(WorkerGroupError("rank 0:\nTraceback ...", {0: failure}), Job(tmp_path))  # pyright: ignore

    for found in (ValueError("lr"), FileNotFoundError("weights"), TrainingDivergedError("loss")):
        assert reason(found) is found
        assert not (tmp_path / "failure.txt").exists()
    error = reason(RuntimeError("CUDA says:\nno memory left"))
    assert isinstance(error, WorkersFailedError)
    assert str(error).startswith(f"a worker failed: no memory left; see {tmp_path / 'failure.txt'}; ")
    assert "Traceback ..." in (tmp_path / "failure.txt").read_text()
