from __future__ import annotations

from pathlib import Path

import pytest

from crowdml.training.run_folder import OtherRunError, RunFolder, State


def test_a_run_begins_goes_on_and_is_done(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "deep" / "run")
    settings = {"lr": 0.1, "milestones": (3, 4), "recipe": {"epochs": 2}}
    assert folder.begin(settings, overwrite=False) is State.FRESH
    assert folder.begin(settings, overwrite=False) is State.STARTED
    folder.keep_point(1, "loss", 2.0)
    assert folder.begin({**settings, "lr": 0.2}, overwrite=False) is State.FRESH  # no training came to anything
    (folder.checkpoints / "training-000.pt").touch()
    with pytest.raises(OtherRunError, match=r"\(lr was 0\.2, now 0\.1; recipe\.epochs was 2, now 5\)"):
        folder.begin({**settings, "recipe": {"epochs": 5}}, overwrite=False)
    (folder.path / "test_predictions.csv").touch()
    folder.finish({"accuracy": 1.0, "files": ["test_predictions.csv"]})
    assert not folder.checkpoints.exists()
    assert folder.begin({**settings, "lr": 0.2}, overwrite=False) is State.DONE
    with pytest.raises(OtherRunError):
        folder.begin(settings, overwrite=False)
    assert folder.begin(settings, overwrite=True) is State.FRESH
    assert not (folder.path / "test_predictions.csv").exists()
    assert folder.begin(settings, overwrite=False) is State.STARTED


def test_curves_outlive_an_interruption(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.curves() == []
    for step, metric, value in [(1, "loss", 3.0), (1, "accuracy", 0.5), (2, "loss", 2.0)]:
        folder.keep_point(step, metric, value)
    with (folder.checkpoints / "curves.jsonl").open("a") as lines:
        lines.write('\n[2, "accu')  # the machine went down here
    later = RunFolder(tmp_path)
    later.keep_point(2, "loss", 1.5)
    later.keep_point(3, "loss", 1.0)
    points = later.curves()
    assert points == [(1, "loss", 3.0), (1, "accuracy", 0.5), (2, "loss", 1.5), (3, "loss", 1.0)]


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.png").touch()
    with pytest.raises(OtherRunError, match="is neither an empty folder nor the folder of a training"):
        RunFolder(tmp_path).begin({"lr": 0.1}, overwrite=False)
    with pytest.raises(OtherRunError, match="is neither an empty folder"):
        RunFolder(tmp_path / "photo.png").begin({"lr": 0.1}, overwrite=False)
    assert RunFolder(tmp_path).begin({"lr": 0.1}, overwrite=True) is State.FRESH
    assert (tmp_path / "photo.png").exists()
