from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from crowdml.cli.main import main
from crowdml.learning.checkpoint import Checkpoint
from crowdml.networks import build_network
from crowdml.training import user_data
from crowdml.training.preparation import prepare
from crowdml.training.run_folder import RunFolder
from crowdml.training.user_data import ImageOptions, read_data
from tests.crowdml.training.folders.pictures import clothing1m, cut_short, imagenet, paint

ROOT = Path(__file__).parents[4]
SMALL = "--stream --method mv --network lenet --side 16 --epochs 3 --batch-size 10 --lr 0.001 --device cpu"
TRAINING = f"{SMALL} --optimizer sgd --augment crop_flip"


def run(folder: Path, out: Path, *more: str) -> int:
    return main(["train", str(folder), "--out", str(out), *TRAINING.split(), *more])


def report_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "report.json").read_text())


def weights_of(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / "weights.pt", weights_only=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return imagenet(tmp_path_factory.mktemp("items"), n_train=10)


def test_an_imagenet_folder_with_a_broken_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = imagenet(tmp_path / "data", n_train=10), tmp_path / "out"
    broken = cut_short(root / "train" / "n02" / "n02_4.JPEG")
    assert run(root, out) == 0
    printed = capsys.readouterr().out
    assert f"images that cannot be read, left out: 1 ({broken}: " in printed
    assert "test accuracy   1.0000" in printed
    report = report_of(out)
    assert report["test"]["accuracy"] == 1.0
    assert report["items_per_second"] == pytest.approx(3 * 29 / report["training_seconds"])
    assert (report["n_labelled"], report["test"]["n_items"], report["n_skipped"]) == (29, 12, 1)
    assert report["code"]["versions"]["torch"]
    listed = json.loads((out / "skipped.json").read_text())["images"]
    assert [list(part["skipped"]) for part in listed] == [[str(broken)], []]
    curves = pd.read_csv(out / "curves.csv")
    assert curves[curves["metric"] == "test_accuracy"]["step"].tolist() == [1, 2, 3]
    found = pd.read_csv(out / "predictions.csv").merge(pd.read_csv(out / "consensus.csv"), on="task")
    assert found["task"].str.match(r"train/n0[123]/n0[123]_\d$").all()
    assert (found["label_y"] == found["task"].str[6:9]).all()
    assert (found["label_x"] == found["label_y"]).mean() == report["agreement"]
    test = pd.read_csv(out / "test_predictions.csv")
    assert len(test) == 12
    assert (test["truth"] == test["task"].str[4:7]).all()
    assert weights_of(out)["0.weight"].shape == (20, 3, 5, 5)


def test_a_clothing1m_folder(tmp_path: Path) -> None:
    root, out = clothing1m(tmp_path / "data", n_train=40, n_test=8), tmp_path / "out"
    assert run(root, out, "--augment", "none", "--precision", "float32", "--format", "parquet") == 0
    report = report_of(out)
    assert report["settings"]["recipe"]["augment"] == "none"
    assert report["test"]["accuracy"] == 1.0
    test = pd.read_parquet(out / "test_predictions.parquet")
    assert set(test["truth"]) == {"T-Shirt", "Shirt", "Knitwear", "Chiffon"}


def test_an_interrupted_run_ends_as_one_that_was_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, tmp_path / "whole") == 0
    keep = RunFolder.keep_point

    def stop(self: RunFolder, step: int, metric: str, value: float) -> None:
        if step == 3:
            raise KeyboardInterrupt
        keep(self, step, metric, value)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "is_due", True)
        patch.setattr(RunFolder, "keep_point", stop)
        assert run(folder, tmp_path / "twice") == 130
    assert "the same command continues from the last checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "twice" / "report.json").exists()
    with monkeypatch.context() as patch:  # the images were checked already
        patch.setattr(user_data, "unreadable_images", lambda *_, **__: pytest.fail("checked again"))
        assert run(folder, tmp_path / "twice") == 0
    assert (tmp_path / "twice" / "curves.csv").read_text() == (tmp_path / "whole" / "curves.csv").read_text()
    for name, value in weights_of(tmp_path / "whole").items():
        assert torch.equal(value, weights_of(tmp_path / "twice")[name]), name


def test_the_crops_and_the_threads(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, more in {"shift": (), "area": ("--train-crop", "area"), "threads": ("--cpus", "1")}.items():
        assert run(folder, tmp_path / name, *more) == 0
    shift, area, threads = (weights_of(tmp_path / name)["0.weight"] for name in ("shift", "area", "threads"))
    assert torch.equal(shift, threads)
    assert not torch.equal(shift, area)
    assert run(folder, tmp_path / "area") == 2  # the crop is one of the settings of a run
    assert "images.train_crop was area, now shift" in capsys.readouterr().err


def test_a_run_that_failed_before_it_trained_may_be_corrected(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, tmp_path / "out", "--method", "genie") == 2
    assert "the genie needs true classes" in capsys.readouterr().err
    assert run(folder, tmp_path / "out", "--method", "nnaqc", "--method-options", "alpha=0.5") == 0
    settings = report_of(tmp_path / "out")["settings"]
    assert (settings["method"], settings["method_options"]) == ("nnaqc", {"alpha": 0.5})


def test_pretrained_weights_are_taken(folder: Path, tmp_path: Path) -> None:
    other = build_network("lenet", (3, 16, 16), 10)
    torch.save(other.state_dict(), tmp_path / "w.pth")
    assert run(folder, tmp_path / "out", "--weights", str(tmp_path / "w.pth"), "--lr", "1e-9", "--epochs", "1") == 0
    assert torch.allclose(weights_of(tmp_path / "out")["0.weight"], other.state_dict()["0.weight"], atol=1e-6)


def test_unit_inputs_are_between_0_and_1_and_standard_ones_are_those_of_imagenet(folder: Path) -> None:
    items = read_data(folder, images=ImageOptions(stream=True, side=8)).items
    cpu = torch.device("cpu")
    unit, standard = (prepare(items, form, 8).inputs(items, cpu) for form in ("unit", "standard"))
    ((ours,),), ((normal,),) = (list(inputs.batches([torch.arange(4)])) for inputs in (unit, standard))
    assert 0 <= float(ours.min()) < float(ours.max()) <= 1
    np.testing.assert_allclose(normal[:, 0].numpy(), (ours[:, 0] - 0.485) / 0.229, atol=1e-5)
    with pytest.raises(ValueError, match="whitened"):
        prepare(items, "whitened", 8)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--method", "bose"], "unknown method 'bose'; did you mean base"),
        (["--method-options", "alpha=1"], "'alpha'"),
        (["--network", "lenot"], "unknown network 'lenot'; did you mean lenet"),
        (["--side", "8"], "lenet"),
        (["--weights", "/nowhere.pth"], "there are no weights at /nowhere.pth"),
        (["--lr", "-1"], "recipe.lr must be above 0"),
        (["--layout", "clothing1m"], "does not have the layout clothing1m; looked for noisy_train_key_list.txt"),
    ],
)
def test_bad_input_gets_one_line_and_writes_nothing(
    folder: Path, tmp_path: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, tmp_path / "out", *more) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_folders_that_cannot_be_used(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paint(tmp_path / "flat" / "a.png", 0)
    assert run(tmp_path / "flat", tmp_path / "out") == 2
    assert "does not give the classes of its items" in capsys.readouterr().err
    assert run(folder, tmp_path / "flat") == 2
    assert "is neither an empty folder nor the folder of a training" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_run_goes_on(folder: Path, tmp_path: Path) -> None:
    assert run(folder, tmp_path / "whole", "--epochs", "40") == 0
    out = tmp_path / "killed"
    arguments = ["train", str(folder), "--out", str(out), *TRAINING.split(), "--epochs", "40"]
    # The same command, with its state written after every epoch and not once a minute.
    program = (
        "import sys, time; from crowdml.learning.checkpoint import Checkpoint; from crowdml.cli.main import main; "
        "Checkpoint.is_due = True; write = Checkpoint.write; "
        "Checkpoint.write = lambda self, state: (write(self, state), time.sleep(0.2)); "
        "sys.exit(main(sys.argv[1:]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=ROOT, env=environment)
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
    resumed, whole = (pd.read_csv(place / "curves.csv") for place in (out, tmp_path / "whole"))
    assert resumed[["step", "metric"]].equals(whole[["step", "metric"]])
    assert resumed["value"].to_numpy() == pytest.approx(whole["value"].to_numpy(), abs=1e-4)
