"""`crowdml results` and `crowdml status` as their user meets them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from analysis.load import load, load_curves
from crowdml.cli.main import main
from crowdml.experiment.result import failed
from crowdml.learning.recipe import Recipe
from sweeps.grid.presets import grid_cells
from sweeps.store.result_store import ResultStore
from sweeps.store.schema import TABLES
from tests.cells import PROVENANCE, cell, result

GRID = ["--preset", "labels", "--workers", "3", "--patterns", "uniform", "--seeds", "0", "--missing-rates", "0"]
CELLS = grid_cells("labels", {"workers": (3,), "patterns": ("uniform",), "seeds": (0,), "missing_rates": (0.0,)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The cells of GRID, one file each."""
    store = ResultStore(tmp_path / "r")
    store.create()
    for made in CELLS:
        store.write([replace(result(), cell=made)], PROVENANCE)
    return tmp_path / "r"


def part(folder: Path, table: str = "cells", number: int = 0) -> Path:
    return sorted((folder / table).iterdir())[number]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["results"], "crowdml results: error: a command is missing"),
        (["results", "verfy"], "crowdml: error: unknown command 'verfy'; did you mean verify?"),
        (["results", "verify"], "the following arguments are required: RESULTS"),
        (["results", "verify", "nowhere"], "crowdml results verify: error: there is no results folder at nowhere"),
        (["results", "compact", "nowhere"], "there is no results folder at nowhere"),
        (["results", "merge", "nowhere", "--out", "new"], "there is no results folder at nowhere"),
        (["results", "diff", "nowhere", "nowhere"], "there is no results folder at nowhere"),
        (["results", "export", "nowhere", "--csv", "x.csv"], "there is no results folder at nowhere"),
        (["results", "compact", "nowhere", "--preset", "labels"], "unknown argument --preset"),
        (["results", "diff", "a", "b", "--tolerance", "-1"], "argument --tolerance: must not be negative, got -1"),
        (["results", "export", "a", "--csv", "x", "--table", "rows"], "argument --table: invalid choice: 'rows'"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


class TestVerify:
    def test_a_whole_folder(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["results", "verify", str(folder), *GRID]) == 0
        printed = capsys.readouterr().out
        assert f"{3 * len(CELLS)} files, {len(CELLS)} cells, {len(CELLS)} attempts" in printed
        assert f"{len(CELLS)} of the grid's {len(CELLS)} cells are there" in printed
        assert printed.endswith("all well\n")
        assert "note" not in printed

    def test_missing_cells_of_a_grid(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["results", "verify", str(folder), *GRID, "--methods", "mv", "em", "glad"]) == 1
        printed = capsys.readouterr().out
        assert "2 missing cells:" in printed
        assert "cifar10_labels, labels only, glad: 1" in printed

    def test_axes_without_a_grid(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["results", "verify", str(folder), "--seeds", "0"]) == 2
        assert "--seeds alone names no grid; give --preset or --grid too" in capsys.readouterr().err

    def test_failed_cells(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        bad = failed(cell(seed=5), "Traceback: oh")
        ResultStore(folder).write([bad], PROVENANCE)
        assert main(["results", "verify", str(folder)]) == 1
        assert f"1 failed cells:\n  {bad.cell.id}\n" in capsys.readouterr().out
        assert main(["results", "verify", str(folder), *GRID]) == 0  # of another grid

    @pytest.mark.parametrize("table", list(TABLES))
    def test_damaged_files_are_named_and_moved_aside(
        self, table: str, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        damaged = part(folder, table)
        content = bytearray(damaged.read_bytes())
        content[len(content) // 2] ^= 1
        damaged.write_bytes(content)
        assert main(["results", "verify", str(folder)]) == 1
        printed = capsys.readouterr().out
        assert f"1 damaged files:\n  {damaged}: its {len(content)} bytes differ from the bytes" in printed
        assert damaged.exists()
        assert main(["results", "verify", str(folder), "--repair"]) == 1
        aside = folder / "damaged" / f"{table}-{damaged.name}"
        assert f"moved to {aside}\n" in capsys.readouterr().out
        assert aside.read_bytes() == content
        lost = table == "cells"
        assert main(["results", "verify", str(folder), *GRID]) == int(lost)
        assert len(load(folder)) == len(CELLS) - lost

    def test_a_file_without_a_column(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        store = ResultStore(folder)
        rows = store.read_rows("cells").slice(0, 1)
        store.write_rows("cells", rows.drop_columns(["device"]))
        assert main(["results", "verify", str(folder)]) == 1
        assert "it lacks the columns device" in capsys.readouterr().out

    def test_rows_that_are_not_what_their_id_says(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        store = ResultStore(folder)
        rows = store.read_rows("cells").slice(0, 1).to_pylist()
        rows[0] |= {"noise_rate": 0.1, "attempt": "other"}
        store.write_rows("cells", TABLES["cells"].empty_table().from_pylist(rows, TABLES["cells"]))
        assert main(["results", "verify", str(folder)]) == 1
        assert f"1 rows whose id is not the hash of their axes:\n  {rows[0]['cell_id']}" in capsys.readouterr().out

    def test_an_attempt_with_two_different_rows(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        store = ResultStore(folder)
        rows = store.read_rows("cells").slice(0, 1).to_pylist()
        rows[0]["aggregation_error"] = 0.9
        store.write_rows("cells", TABLES["cells"].empty_table().from_pylist(rows, TABLES["cells"]))
        assert main(["results", "verify", str(folder)]) == 1
        assert f"1 attempts recorded with different rows:\n  {rows[0]['attempt']}" in capsys.readouterr().out

    def test_what_harms_nothing_is_a_note(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = ResultStore(folder)
        store.write_rows("cells", store.read_part("cells", store.parts("cells")[0])[0])
        curves = store.read_rows("curves").slice(0, 1).to_pylist()
        curves[0]["attempt"] = "orphan"
        store.write_rows("curves", TABLES["curves"].empty_table().from_pylist(curves, TABLES["curves"]))
        stale, fresh = folder / "cells" / ".part-1.parquet.abc", folder / "cells" / ".part-2.parquet.abc"
        for path in (stale, fresh):
            path.write_bytes(b"half a fi")
        os.utime(stale, (0.0, time.time() - 7200))
        assert main(["results", "verify", str(folder), "--repair"]) == 0
        printed = capsys.readouterr().out
        assert "note: 1 attempts in two files; compact joins them" in printed
        assert "note: 1 attempts with curves or workers and no cell" in printed
        assert "note: 1 temporary files of interrupted writes" in printed
        assert f"deleted {stale}\n" in printed
        assert fresh.exists()
        assert not stale.exists()

    def test_another_version_of_a_method_is_no_damage(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sweeps.store.verification.version", lambda method, labels_only: "7+1")
        from sweeps.store import verification

        verification._present_version.cache_clear()
        assert main(["results", "verify", str(folder)]) == 0
        assert f"note: {len(CELLS)} cells of another version of their method" in capsys.readouterr().out
        verification._present_version.cache_clear()

    def test_a_row_names_no_class_that_is_imported(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = failed(cell(method="tests.cells:Slow"), "Traceback: oh")
        ResultStore(folder).write([replace(made, status="ok", error=None)], PROVENANCE)
        monkeypatch.setattr("crowdml.methods.configure.import_module", None)
        assert main(["results", "verify", str(folder)]) == 0


class TestCompact:
    def test_it_says_how_many_files_there_were_and_are(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["results", "compact", str(folder)]) == 0
        assert f"cells: {len(CELLS)} files before, 1 now\n" in capsys.readouterr().out
        assert main(["results", "verify", str(folder), *GRID]) == 0

    def test_dropping_what_is_superseded(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        ResultStore(folder).write([replace(result(), cell=CELLS[0], curves=(), workers=())], PROVENANCE)
        assert main(["results", "compact", str(folder), "--drop-superseded"]) == 0
        assert "5 rows of superseded attempts dropped\n" in capsys.readouterr().out

    def test_a_damaged_file_is_left(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        part(folder).write_bytes(b"x")
        assert main(["results", "compact", str(folder)]) == 1
        assert "left as it is: cannot read" in capsys.readouterr().out
        assert part(folder).exists()


def test_merging_folders(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = ResultStore(tmp_path / "other")
    other.create()
    other.write([result(seed=7)], PROVENANCE)
    arguments = ["results", "merge", str(folder), str(tmp_path / "other"), "--out", (tmp_path / "c").as_uri()]
    assert main(arguments) == 0
    n = len(CELLS) + 1
    assert f"added {n} attempts, {2 * n} points of curves and {2 * n} rows of workers" in capsys.readouterr().out
    assert main(["results", "verify", str(tmp_path / "c"), *GRID]) == 0
    capsys.readouterr()
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("added 0 attempts")


class TestDiff:
    def test_the_same(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["results", "diff", str(folder), str(folder)]) == 0
        printed = capsys.readouterr().out
        assert f"{len(CELLS)} cells in both; 0 have other results" in printed

    def test_differences_are_shown_and_written(
        self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = ResultStore(tmp_path / "other")
        other.create()
        changed = replace(result(), cell=CELLS[0], aggregation_error=0.75)
        other.write([changed, result(seed=7)], replace(PROVENANCE, git_commit="def"))
        csv = tmp_path / "diff.csv"
        assert main(["results", "diff", str(folder), str(tmp_path / "other"), "--csv", str(csv)]) == 1
        printed = capsys.readouterr().out
        assert f"{len(CELLS) - 1} cells only in A" in printed
        assert "1 cells only in B" in printed
        assert "1 cells in both; 1 have other results" in printed
        assert "aggregation_error" in printed
        assert "def (2 cells)" in printed
        frame = pd.read_csv(csv)
        assert frame["where"].value_counts().to_dict() == {"A": len(CELLS) - 1, "B": 1, "both": 1}
        assert frame.loc[frame["where"] == "both", ["a", "b"]].to_numpy(float).tolist() == [[0.25, 0.75]]


class TestExport:
    def test_one_table(self, folder: Path, tmp_path: Path) -> None:
        assert main(["results", "export", str(folder), "--csv", str(tmp_path / "x" / "cells.csv")]) == 0
        frame = pd.read_csv(tmp_path / "x" / "cells.csv")
        assert sorted(frame["cell_id"]) == sorted(made.id for made in CELLS)
        assert list(frame.columns) == TABLES["cells"].names

    def test_all_tables(self, folder: Path, tmp_path: Path) -> None:
        assert main(["results", "export", str(folder), "--csv", str(tmp_path / "out")]) == 0
        for table, n_rows in {"cells": 1, "curves": 2, "workers": 2}.items():
            assert len(pd.read_csv(tmp_path / "out" / f"{table}.csv")) == n_rows * len(CELLS)

    def test_chosen_table(self, folder: Path, tmp_path: Path) -> None:
        assert main(["results", "export", str(folder), "--csv", str(tmp_path / "x.csv"), "--table", "curves"]) == 0
        assert pd.read_csv(tmp_path / "x.csv")["value"].isin([0.5, 0.75]).all()

    def test_a_column_for_each_option(self, folder: Path, tmp_path: Path) -> None:
        trained = cell(network="cnn_digits", recipe=Recipe(epochs=3, milestones=(1, 2)))
        ResultStore(folder).write([replace(result(), cell=trained)], PROVENANCE)
        assert main(["results", "export", str(folder), "--csv", str(tmp_path / "x.csv"), "--flatten"]) == 0
        frame = pd.read_csv(tmp_path / "x.csv").set_index("cell_id")
        assert "method_options" not in frame
        assert list(frame.loc[trained.id, ["recipe.epochs", "recipe.milestones"]]) == [3, "[1, 2]"]
        em = next(made for made in CELLS if made.method == "em")
        assert list(frame.loc[em.id, ["method_options.init"]]) == ["majority"]
        assert frame["method_options.init"].isna().to_dict()[trained.id]


class _Hostile:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


def test_no_pickle_in_a_results_folder_is_ever_loaded(folder: Path, tmp_path: Path) -> None:
    proof = tmp_path / "unpickled"
    hostile = pickle.dumps(_Hostile(proof))
    for name in ("crowdml", "part-0", ".part-0", "checkpoint", "data", "state"):
        for subfolder in (folder, *(path for path in folder.rglob("*") if path.is_dir()), folder / "damaged"):
            subfolder.mkdir(exist_ok=True)
            for suffix in ("pkl", "pickle", "pt", "pth", "npy", "joblib"):
                (subfolder / f"{name}.{suffix}").write_bytes(hostile)
    (folder / "cells" / "part-00000000000000000000-0a1b2c3d.parquet").write_bytes(hostile)
    (folder / "curves" / "part-00000000000000000000-0a1b2c3d.parquet").write_bytes(hostile)
    assert main(["results", "verify", str(folder), "--repair"]) == 1
    assert main(["results", "compact", str(folder), "--drop-superseded"]) == 0
    assert main(["results", "merge", str(folder), "--out", str(tmp_path / "merged")]) == 0
    assert main(["results", "diff", str(folder), str(tmp_path / "merged")]) == 0
    assert main(["results", "export", str(folder), "--csv", str(tmp_path / "csv")]) == 0
    assert main(["status", str(folder)]) == 0
    assert len(load(folder)) == len(CELLS)
    assert len(load_curves(folder)) == 2 * len(CELLS)
    assert not proof.exists()
    pickle.loads(hostile)
    assert proof.exists()  # it would have been seen
