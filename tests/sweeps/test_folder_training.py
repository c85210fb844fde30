from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from crowdml.learning.checkpoint import Checkpoint
from sweeps import folder_job, folder_training
from tests.crowdml.training.folders.pictures import clothing1m, cut_short, imagenet, paint

ROOT = Path(__file__).parents[2]
SMALL = ["--network", "lenet", "--side", "16", "--epochs", "3", "--batch-size", "10", "--lr", "0.001"]


def run(folder: Path, out: Path, *more: str) -> int:
    return folder_training.main([str(folder), "--out", str(out), *SMALL, *more])


def metrics_of(out: Path) -> dict[str, Any]:
    return json.loads((out / folder_job.METRICS).read_text())


def weights_of(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / folder_job.WEIGHTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return imagenet(tmp_path_factory.mktemp("items"), n_train=10)


def test_an_imagenet_folder_with_a_broken_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = imagenet(tmp_path / "data", n_train=10), tmp_path / "out"
    broken = cut_short(root / "train" / "n02" / "n02_4.JPEG")
    assert run(root, out) == 0
    printed = capsys.readouterr().out
    assert "29 training and 12 test images" in printed
    assert "skipped 1 images that cannot be read" in printed
    assert f"{broken}: " in printed
    assert "test accuracy 1.0000" in printed
    metrics = metrics_of(out)
    assert metrics["test_accuracy"] == 1.0
    assert metrics["images_per_second"] == pytest.approx(3 * 29 / metrics["seconds"])
    assert (metrics["n_train"], metrics["n_test"], metrics["n_skipped"], metrics["n_epochs"]) == (29, 12, 1, 3)
    assert [step for step, metric, _ in metrics["curves"] if metric == "test_accuracy"] == [1, 2, 3]
    train = pd.read_parquet(out / "predictions-train.parquet")
    assert list(train.columns) == ["task", "given", "predicted", "probability"]
    assert train["task"].str.match(r"train/n0[123]/n0[123]_\d$").all()
    assert (train["given"] == train["task"].str[6:9]).all()
    assert (train["predicted"] == train["given"]).mean() == metrics["train_agreement"]
    assert train["probability"].between(1 / 3, 1).all()
    assert len(pd.read_parquet(out / "predictions-test.parquet")) == 12
    assert weights_of(out)["0.weight"].shape == (20, 3, 5, 5)


def test_a_clothing1m_folder(tmp_path: Path) -> None:
    root, out = clothing1m(tmp_path / "data", n_train=40, n_test=8), tmp_path / "out"
    assert run(root, out, "--recipe", "augment=none", "precision=float32") == 0
    metrics = metrics_of(out)
    assert metrics["settings"]["layout"] == "clothing1m"
    assert metrics["settings"]["recipe"]["augment"] == "none"
    assert metrics["test_accuracy"] == 1.0
    test = pd.read_parquet(out / "predictions-test.parquet")
    assert set(test["truth"]) == {"T-Shirt", "Shirt", "Knitwear", "Chiffon"}


def test_an_interrupted_run_ends_as_one_that_was_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, tmp_path / "whole") == 0

    def stop(self: Any, step: int, metric: str, value: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "is_due", True)
        patch.setattr(folder_job._Curves, "__call__", stop)
        assert run(folder, tmp_path / "twice") == 130
    assert "the same command goes on from here" in capsys.readouterr().err
    assert not (tmp_path / "twice" / folder_job.METRICS).exists()
    assert run(folder, tmp_path / "twice") == 0
    curves = metrics_of(tmp_path / "twice")["curves"]
    assert curves == [point for point in metrics_of(tmp_path / "whole")["curves"] if point[0] == 3]
    for name, value in weights_of(tmp_path / "whole").items():
        assert torch.equal(value, weights_of(tmp_path / "twice")[name]), name


def test_a_finished_run_trains_no_more(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, tmp_path) == 0
    before = metrics_of(tmp_path)
    written = (tmp_path / "checkpoints" / "training-000.pt").stat().st_mtime_ns
    assert run(folder, tmp_path) == 0
    assert metrics_of(tmp_path) == before
    assert (tmp_path / "checkpoints" / "training-000.pt").stat().st_mtime_ns == written
    capsys.readouterr()
    assert run(folder, tmp_path, "--seed", "1") == 2
    assert "is of another training (seed 0, now 1); choose another --out" in capsys.readouterr().err


def test_a_run_that_failed_before_it_trained_may_be_corrected(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, tmp_path / "out", "--method", "genie") == 2
    assert "needs true classes of training items" in capsys.readouterr().err
    assert run(folder, tmp_path / "out", "--method", "nnaqc", "--option", "alpha=0.5") == 0
    settings = metrics_of(tmp_path / "out")["settings"]
    assert (settings["method"], settings["options"]) == ("nnaqc", {"alpha": 0.5})


def test_curves_have_each_point_once_whatever_was_repeated(tmp_path: Path) -> None:
    (tmp_path / "c").write_text('[1, "a", 0.5]\n[2, "a", 0.4]\n[2, "a", 0.3]\n[2, "b", 1]\n')
    assert folder_job.read_curves(tmp_path / "c") == [[1, "a", 0.5], [2, "a", 0.3], [2, "b", 1]]
    assert folder_job.read_curves(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--method", "labnet"], "a folder has one label an item, and labnet is a method for the annotations of sever"),
        (["--method", "em+base"], "and em+base is a method for the annotations of several workers; take one of base"),
        (["--method", "bose"], "unknown method 'bose'; did you mean base"),
        (["--option", "alpha=1"], "unknown option of method base 'alpha'"),
        (["--network", "lenot"], "unknown network 'lenot'; did you mean lenet"),
        (["--side", "8"], "lenet"),
        (["--weights", "/nowhere.pth"], "there are no weights at /nowhere.pth"),
        (["--recipe", "epoch=3"], "unknown field of the recipe 'epoch'; did you mean epochs"),
        (["--lr", "-1"], "recipe.lr must be above 0"),
        (["--workers", "0"], "--workers must be at least 1, got 0"),
        (["--layout", "clothing1m"], "has not the layout clothing1m; looked for noisy_train_key_list.txt"),
    ],
)
def test_bad_input_gets_one_line_and_writes_nothing(
    folder: Path, tmp_path: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, tmp_path / "out", *more) == 2
    error = capsys.readouterr().err
    assert error.startswith("folder_training: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_folders_that_cannot_be_used(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paint(tmp_path / "flat" / "a.png", 0)
    assert run(tmp_path / "flat", tmp_path / "out") == 2
    assert "has no labels (layout flat)" in capsys.readouterr().err
    assert run(folder, tmp_path / "flat") == 2
    assert "is not an empty folder, and not of a training" in capsys.readouterr().err


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_a_killed_run_goes_on(folder: Path, tmp_path: Path) -> None:
    assert run(folder, tmp_path / "whole", "--epochs", "40") == 0
    out = tmp_path / "killed"
    arguments = [str(folder), "--out", str(out), *SMALL, "--epochs", "40"]
    # The same command, with its state written after every epoch and not once a minute.
    program = (
        "import sys, time; from crowdml.learning.checkpoint import Checkpoint; from sweeps import folder_training; "
        "Checkpoint.is_due = True; read = Checkpoint.write; "
        "Checkpoint.write = lambda self, state: (read(self, state), time.sleep(0.2)); "
        "sys.exit(folder_training.main(sys.argv[1:]))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=ROOT, env=environment())
    state = out / "checkpoints" / "training-000.pt"
    while not state.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not torch.load(state)["done"]
    assert run(folder, out, "--epochs", "40") == 0
    # The killed process ran on one thread, so that sums may differ in their last digits.
    for name, value in weights_of(tmp_path / "whole").items():
        torch.testing.assert_close(value, weights_of(out)[name], rtol=0, atol=1e-6)
    resumed, whole = (metrics_of(place)["curves"] for place in (out, tmp_path / "whole"))
    assert [point[:2] for point in resumed] == [point[:2] for point in whole]
    assert [point[2] for point in resumed] == pytest.approx([point[2] for point in whole], abs=1e-4)


@pytest.mark.slow
def test_two_workers_train_the_same_network_as_one(folder: Path, tmp_path: Path) -> None:
    # Every process augments its own share with draws of its own, so images are left as they are here.
    settings = ["--recipe", "augment=none"]
    assert run(folder, tmp_path / "one", *settings) == 0
    command = [sys.executable, "-m", "sweeps.folder_training", str(folder), "--out", str(tmp_path / "two"), *SMALL]
    done = subprocess.run(
        [*command, *settings, "--workers", "2", "--cpus", "1", "--address", "local"],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    one, two = metrics_of(tmp_path / "one"), metrics_of(tmp_path / "two")
    assert two["n_processes"] == 2
    assert two["test_accuracy"] == one["test_accuracy"] == 1.0
    for (step, metric, ours), theirs in zip(one["curves"], two["curves"], strict=True):
        assert theirs == [step, metric, pytest.approx(ours, abs=1e-4)]
    for name, value in weights_of(tmp_path / "one").items():
        assert weights_of(tmp_path / "two")[name].numpy() == pytest.approx(value.numpy(), abs=1e-4), name
    assert not (tmp_path / "two" / ".train").exists()
