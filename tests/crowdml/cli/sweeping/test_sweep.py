"""The command as its user meets it, in one process; `test_on_ray.py` has the same on Ray."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from crowdml.cli.main import main
from crowdml.cli.sweeping import run_sweep
from crowdml.experiment.cell import Cell
from crowdml.experiment.run_cell import attempt_cell
from sweeps.store.result_store import ResultStore
from sweeps.watching.run_record import announce
from tests.cells import PROVENANCE

# The networks are trained on so little that it takes no time.
QUICK = [
    "--preset", "laptop", "--epochs", "1", "--n-train", "100", "--workers", "3", "--patterns", "uniform",
    "--seeds", "0",
]  # fmt: skip


def run(*arguments: str, results: Path, backend: str = "inline") -> int:
    words = [*arguments, "--results", str(results), "--backend", backend, "--address", "local"]
    return main(["sweep", *words], script="python sweeps/full_grid.py")


def marker(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "crowdml.json").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "labnet-tabel1"], "unknown preset 'labnet-tabel1'; did you mean labnet-table1"),
        (["--methods", "mv", "minmax_entropy"], "unknown method 'minmax_entropy'; did you mean minimax_entropy"),
        (["--methods", "em+bass"], "unknown learner 'bass'; did you mean base"),
        (["--methods", "no.such.module:Thing"], "cannot load method class 'no.such.module:Thing'"),
        (["--patterns", "unifrom"], "(did you mean uniform?), got 'unifrom'"),
        (["--datasets", "cifar01"], "(did you mean cifar10 or cifar10n or cifar10h?), got 'cifar01'"),
        (["--network", "cnn88"], "(did you mean cnn8 or cnn9 or cnn7?), got 'cnn88'"),
        (["--noise-rates", "1.2"], "noise_rate must be in [0, 1), got 1.2"),
        (["--noise-rates", "-0.1"], "noise_rate must be in [0, 1), got -0.1"),
        (["--missing-rates", "1"], "missing_rate must be in [0, 1), got 1"),
        (["--workers", "0"], "n_workers must be at least 1, got 0"),
        (["--seeds", "-1"], "seed must be at least 0, got -1"),
        (["--n-train", "100000"], "n_train"),
        (["--gpus-per-trial", "64"], "--gpus-per-trial 64 is more than the"),
        (["--train-workers", "2"], "--backend inline trains on one device"),
        (["--epochs", "0"], "argument --epochs: must be at least 1, got 0"),
        (["--workers", "three"], "argument --workers: invalid int value: 'three'"),
        (["--wrokers", "3"], "unknown argument --wrokers; did you mean --workers"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = [] if "--preset" in arguments else ["--preset", "laptop"]
    code = run(*preset, *arguments, results=tmp_path / "r")
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("python sweeps/full_grid.py: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_results_folders_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    cases = {
        tmp_path / "file": "is a file; give a folder",
        tmp_path / "file" / "below": "Not a directory",
        tmp_path / "other": "holds other files and no crowdml.json",
        marker(tmp_path / "newer", '{"schema_version": 99}'): "has schema version 99, this crowdml writes 1",
        marker(tmp_path / "broken", "{"): "is not a marker of a results folder",
    }
    for folder, message in cases.items():
        assert run(*QUICK, results=folder) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_a_damaged_file_is_named_and_its_cells_are_computed_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*QUICK, results=tmp_path / "r") == 0
    first = ResultStore(tmp_path / "r").read_cells()
    parts = list((tmp_path / "r" / "cells").glob("part-*"))
    part = parts[0]
    for other in parts[1:]:
        other.unlink()
    part.write_bytes(part.read_bytes()[:-100])
    capsys.readouterr()
    assert run(*QUICK, results=tmp_path / "r") == 0
    printed = capsys.readouterr().out
    assert printed.count("damaged cannot read") == 1
    assert part.name in printed
    assert "crowdml results verify" in printed
    assert f"{len(first)} cells, 0 done before, {len(first)} to compute" in printed
    again = ResultStore(tmp_path / "r", damaged="skip").read_cells()
    assert set(again["cell_id"]) == set(first["cell_id"])


def test_a_run_prints_the_tables_and_where_everything_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*QUICK, "--methods", "mv", "em", results=tmp_path / "r") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("preset laptop\n")
    assert "test accuracy (%)" in printed
    assert "aggregation error (%)" in printed
    assert f"results   {tmp_path / 'r'}" in printed
    assert f"crowdml analyze {tmp_path / 'r'}" in printed
    assert (tmp_path / "r" / "report" / "report.html").exists()
    cells = ResultStore(tmp_path / "r").read_cells()
    assert cells["test_accuracy"].between(0, 1).all()
    assert json.loads(cells["recipe"][0])["epochs"] == 1


def test_the_preset_fits_the_machine_unless_one_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for gpus, first_line in (
        (0, "preset laptop: this machine has no GPU; choose another with --preset"),
        (2, "preset paper: this machine has 2 GPUs; choose another with --preset"),
    ):
        monkeypatch.setattr(run_sweep.ray_cluster, "local_gpus", lambda gpus=gpus: gpus)
        assert run("--dry-run", results=tmp_path / "r") == 0
        assert capsys.readouterr().out.splitlines()[0] == first_line


def test_a_second_run_computes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(*QUICK, "--methods", "mv", results=tmp_path / "r") == 0
    before = ResultStore(tmp_path / "r").attempts()
    monkeypatch.setattr("sweeps.running.cell_worker.attempt_cell", None)  # calling it would raise
    assert run(*QUICK, "--methods", "mv", results=tmp_path / "r") == 0
    assert "all 1 cells are done; nothing to compute" in capsys.readouterr().out
    assert ResultStore(tmp_path / "r").attempts() == before


def test_some_cells_are_selected_recomputed_and_retried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = ["--preset", "labels", "--datasets", "digits", "--methods", "mv", "em", "--seeds", "0", "--patterns", "flip"]
    only = [*grid, "--only", 'method == "em" and n_workers == 3']
    assert run(*only, results=tmp_path / "r") == 0
    assert "3 of the grid's 24 cells are selected" in capsys.readouterr().out
    store = ResultStore(tmp_path / "r")
    assert len(store.attempts()) == 3
    assert run(*grid, "--recompute", results=tmp_path / "r") == 0
    printed = capsys.readouterr().out
    assert "24 cells, 3 done before, 24 to compute" in printed
    assert "24/24 cells · 0 running · 0 failed" in printed
    assert "% of the time in cells" in printed
    assert len(store.attempts()) == 27
    assert len(store.read_cells()) == 24
    assert set(store.read_cells()["command"]) == {
        f"python sweeps/full_grid.py {' '.join(grid)} --recompute --results "
        f"{tmp_path / 'r'} --backend inline --address local"
    }


def test_a_run_says_that_another_one_is_at_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ResultStore(tmp_path / "r")
    store.create()
    with announce(store, "another", "command"):
        assert run(*QUICK, "--methods", "mv", results=tmp_path / "r") == 0
    said = f"run another (process {os.getpid()} on {socket.gethostname()}) is at work on this folder too"
    assert capsys.readouterr().out.count(said) == 1
    assert run(*QUICK, "--methods", "em", results=tmp_path / "r") == 0
    assert "is at work on this folder" not in capsys.readouterr().out


def test_the_record_of_another_run_cannot_end_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ResultStore(tmp_path / "r").create()
    (tmp_path / "r" / "runs").mkdir()
    (tmp_path / "r" / "runs" / "damaged.json").write_text("{")
    assert run(*QUICK, "--methods", "mv", results=tmp_path / "r") == 0
    assert "damaged.json" in capsys.readouterr().out


def test_a_run_counts_the_cells_that_another_one_computes_meanwhile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ResultStore(tmp_path / "r")
    grid = [*QUICK, "--methods", "mv", "em"]
    load = run_sweep._load

    def load_late(cells: Sequence[Cell]) -> dict[str, Any]:
        data = load(cells)
        # After this run has chosen its cells.
        store.write([attempt_cell(one, data["digits"]) for one in cells if one.method == "mv"], PROVENANCE)
        return data

    monkeypatch.setattr(run_sweep, "_load", load_late)
    assert run(*grid, results=tmp_path / "r") == 0
    assert "2 cells, 0 done before, 2 to compute" in (printed := capsys.readouterr().out)
    assert "2/2 cells · 0 running · 0 failed" in printed
    assert len(store.attempts()) == len(store.read_cells()) == 2


def test_what_a_wider_grid_shares_with_an_earlier_one_is_not_computed_again(tmp_path: Path) -> None:
    assert run(*QUICK, "--methods", "mv", results=tmp_path / "r") == 0
    (old,) = ResultStore(tmp_path / "r").attempts().items()
    assert run(*QUICK, "--methods", "mv", "em", results=tmp_path / "r") == 0
    attempts = ResultStore(tmp_path / "r").attempts()
    assert old in attempts.items()
    assert len(attempts) == len(set(attempts.values())) == 2


def test_a_folder_holds_grids_that_do_not_fill_a_rectangle(tmp_path: Path) -> None:
    assert run(*QUICK, "--methods", "mv", results=tmp_path / "r") == 0
    assert run(*QUICK, "--methods", "em", "--patterns", "flip", results=tmp_path / "r") == 0
    assert (tmp_path / "r" / "report" / "report.html").exists()


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*QUICK, "--methods", "mv", "tests.cells:Raises", results=tmp_path / "r") == 3
    before = sorted(path for path in (tmp_path / "r").rglob("*"))
    capsys.readouterr()
    assert run(*QUICK, "--methods", "mv", "tests.cells:Raises", "em", "--dry-run", results=tmp_path / "r") == 0
    printed = capsys.readouterr().out
    assert "3 cells: 1 done, 1 failed before, 1 to compute" in printed
    assert "about" in printed
    assert sorted(path for path in (tmp_path / "r").rglob("*")) == before


def test_missing_images_say_what_to_put_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setenv("CROWDML_DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setattr("urllib.request.urlretrieve", unreachable)
    arguments = ["--preset", "labnet-table1", "--epochs", "1", "--methods", "mv", "--seeds", "0"]
    assert run(*arguments, results=tmp_path / "r") == 2
    error = capsys.readouterr().err
    assert "CROWDML_DATA_ROOT" in error
    assert error.count("\n") == 1


def test_interrupted_runs_keep_what_they_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_sweep, "run_inline", interrupt)
    assert run(*QUICK, results=tmp_path / "r") == 130
    assert "stopped; the same command goes on" in capsys.readouterr().err
    (record,) = (tmp_path / "r" / "runs").iterdir()
    assert json.loads(record.read_text())["state"] == "stopped"


def test_help_explains_axes_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["sweep", "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    for text in ("--preset", "--missing-rates", "--dry-run", "--retry-failed", "s3://", "exit code"):
        assert text in printed


def test_real_crowds(tmp_path: Path, data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--preset", "real-crowds", "--datasets", "bluebird", "rte", "--methods", "mv", "em"]
    assert run(*arguments, results=tmp_path / "r") == 0
    printed = capsys.readouterr().out
    assert "real crowds: accuracy (%)" in printed
    assert "75.93 91.88" in printed  # majority vote on bluebird and rte, ties to the lowest class
    assert run(*arguments, results=tmp_path / "r") == 0
    assert "all 4 cells are done" in capsys.readouterr().out
    assert (tmp_path / "r" / "report" / "table-01-accuracy.csv").exists()


def test_sparse_assignments(tmp_path: Path) -> None:
    arguments = [
        "--preset", "labels", "--datasets", "digits", "--patterns", "uniform", "--workers", "20",
        "--missing-rates", "0", "--methods", "mv", "--seeds", "0", "--worker-models", "beta_ability",
        "--assignments", "balanced", "power_law", "--labels-per-item", "3",
    ]  # fmt: skip
    assert run(*arguments, results=tmp_path / "r") == 0
    cells = ResultStore(tmp_path / "r").read_cells()
    assert cells["n_annotations"].tolist() == [3 * 1297] * 2
    assert set(cells["assignment"]) == {"balanced", "power_law"}


def test_the_machine_is_left_as_it_was(tmp_path: Path) -> None:
    """The command must not need a working directory or leave files in it."""
    before = set(os.listdir())
    assert run(*QUICK, "--methods", "mv", results=tmp_path / "r") == 0
    assert set(os.listdir()) == before


def test_a_dry_run_assumes_the_gpus_that_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--preset", "laptop", "--methods", "mv", "--gpus-per-trial", "0.25"]
    assert run(*arguments, "--dry-run", results=tmp_path / "r") == 0
    printed = capsys.readouterr().out
    assert "this machine has 0 GPUs; the estimate assumes 1, as --gpus-per-trial needs" in printed
    assert "GPU hours" in printed
    assert run(*arguments, results=tmp_path / "r") == 2


def test_a_report_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("PIL.Image.Image.save", full)
        assert run(*QUICK, "--methods", "mv", results=tmp_path / "r") == 2
    error = capsys.readouterr().err
    assert "No space left on device; the results are safe, and `crowdml analyze " in error
    assert error.count("\n") == 1
    assert run(*QUICK, "--methods", "mv", results=tmp_path / "r") == 0
    assert (tmp_path / "r" / "report" / "report.html").exists()
