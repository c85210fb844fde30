from __future__ import annotations

from pathlib import Path

import pytest

from crowdml.training.run_folder import OtherRunError, RunFolder, State

SETTINGS = {"lr": 0.1}


def contents(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


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
        RunFolder(tmp_path).begin(SETTINGS, overwrite=False)
    assert RunFolder(tmp_path).begin(SETTINGS, overwrite=True) is State.FRESH
    assert (tmp_path / "photo.png").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_is_no_run_folder(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.txt").write_text("words")
    with pytest.raises(OtherRunError, match=r"thesis\.txt is a file; choose another --out"):
        RunFolder(tmp_path / "thesis.txt").begin(SETTINGS, overwrite=overwrite)
    assert (tmp_path / "thesis.txt").read_text() == "words"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", ['{"editor.fontSize": 12}', "{}", "[1]", "null", "", "{", "[" * 100_000, "\xff"])
def test_a_foreign_or_damaged_settings_file_is_kept(tmp_path: Path, content: str, overwrite: bool) -> None:
    (tmp_path / "settings.json").write_text(content, encoding="latin-1")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.pt").touch()
    (tmp_path / "report.json").write_text('{"files": ["thesis.txt"]}')
    (tmp_path / "thesis.txt").touch()
    before = contents(tmp_path)
    with pytest.raises(OtherRunError, match=r"its file settings\.json would be replaced") as error:
        RunFolder(tmp_path).begin(SETTINGS, overwrite=overwrite)
    assert "\n" not in str(error.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["predictions.csv", "weights.pt", "report.json", "checkpoints/training-000.pt"])
def test_a_foreign_file_with_the_name_of_a_result_is_kept(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(OtherRunError, match=f"its file {Path(name).parts[0]} would be replaced"):
        RunFolder(tmp_path).begin(SETTINGS, overwrite=True)
    assert (tmp_path / name).read_text() == "mine"


def test_only_own_files_are_deleted_with_overwrite_and_at_the_end(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.begin(SETTINGS, overwrite=False)
    foreign = ["thesis.txt", "model.onnx", "checkpoints/best.pt", "checkpoints/notes/a.txt"]
    own = ["predictions.csv", "curves.parquet", "weights.pt", "failure.txt"]
    checkpoints = ["checkpoints/training-000.pt", "checkpoints/.training-000.pt.0123abcd.part"]
    (tmp_path / "checkpoints" / "notes").mkdir(parents=True)
    for name in (*foreign, *own, *checkpoints):
        (tmp_path / name).touch()
    folder.keep_share(0, 0.5)
    folder.keep_point(1, "loss", 1.0)
    with folder.ray_state() as state:
        (state / "trial").mkdir()
        assert state.parent == folder.checkpoints
    assert not state.exists()
    folder.finish({"files": ["predictions.csv", "thesis.txt"]})
    assert contents(tmp_path) == sorted([*foreign, *own, "report.json", "settings.json"])
    assert folder.begin(SETTINGS, overwrite=True) is State.FRESH
    assert contents(tmp_path) == sorted([*foreign, "settings.json"])


def test_a_run_that_is_replaced_leaves_no_points(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.begin(SETTINGS, overwrite=False)
    folder.keep_point(7, "loss", 1.0)
    assert folder.begin({"lr": 0.2}, overwrite=False) is State.FRESH
    assert folder.curves() == []


@pytest.mark.parametrize("report", ["", "[1]", "null", "{}", "\xff"])
def test_a_run_with_a_damaged_report_is_not_done(tmp_path: Path, report: str) -> None:
    folder = RunFolder(tmp_path)
    folder.begin(SETTINGS, overwrite=False)
    (tmp_path / "report.json").write_text(report, encoding="latin-1")
    assert folder.begin(SETTINGS, overwrite=False) is State.STARTED


ODD = ["", "[1]", "null", "{}", "[[1], 2, 3]", '[1, "loss", "low"]', '["a", "loss", 1.0]', "[" * 100_000, "\xff", "3"]


def test_odd_lines_of_the_curves_are_left_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.keep_point(2, "loss", 2.0)
    with (folder.checkpoints / "curves.jsonl").open("a", encoding="latin-1") as lines:
        lines.write("".join(f"\n{odd}" for odd in [*ODD, '[1e3, "loss", 1]', f'[{10**30}, "loss", 1]']))
    folder.keep_point(1, "loss", 3)
    assert folder.curves() == [(1, "loss", 3.0), (2, "loss", 2.0)]


@pytest.mark.parametrize("odd", [*ODD, '{"training": "a", "share": 0.5}', '{"training": 1, "share": NaN}'])
def test_an_odd_file_of_the_progress_counts_as_none(tmp_path: Path, odd: str) -> None:
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    (folder.checkpoints / "share.json").write_text(odd, encoding="latin-1")
    assert folder.share() is None


@pytest.mark.parametrize("odd", [*ODD, '{"images": 3}', '{"images": [1, {"checked": "a", "skipped": ["x"]}]}'])
def test_an_odd_list_of_skipped_images_counts_as_none(tmp_path: Path, odd: str) -> None:
    (tmp_path / "skipped.json").write_text(odd, encoding="latin-1")
    assert RunFolder(tmp_path).checked() == {}
