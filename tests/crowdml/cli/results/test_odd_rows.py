"""Rows with values that crowdml cannot have written: each command leaves them out, names them and goes on."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from analysis.report import write_report
from crowdml.cli.main import main
from crowdml.experiment.result import failed
from crowdml.learning.recipe import Recipe
from sweeps.store.damaged_rows import row_faults
from sweeps.store.result_store import MARKER, ResultsError, ResultStore
from sweeps.store.schema import REAL, TABLES, TEXT, WHOLE, to_tables
from tests.cells import PROVENANCE, cell, result

ODD: dict[pa.DataType, tuple[Any, ...]] = {
    TEXT: (
        None, "", " ", "x", "{", "[]", "[[1]]", "null", '"x"', "1", "NaN", '{"a": [1, {"b": 2}]}', '{"a": NaN}', "{}",
        '{"a": 1, "a": 2}', '{"epochs": "x"}', '{"epochs": 1e999}', "[" * 50_000, "1" * 5_000, "y" * 200_000,
        r"$\frac{$", "$", "[bold]x[/nothing]", "[/]", ":smile:", "a\x1b[31mb", "a\nb\rc\x00", '{"a": "\\u001b[2J"}',
        "../../../x", "a/b", "\u202etxt", "名前", "<script>", "real", "ok", "x" * 499,
    ),
    WHOLE: (None, 0, -1, 2**63 - 1, -(2**63)),
    REAL: (None, float("nan"), float("inf"), -float("inf"), -1.0, -0.0, 1.0, 1e308, 5e-324),
    pa.bool_(): (None, True, False),
    TABLES["cells"].field("finished_at").type: (
        None, datetime(1900, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC),
    ),
}  # fmt: skip
STRAY = "part-00000000000000000001-no-run-0000000000000000.parquet"
MADE = (
    *(result(method=method, seed=seed) for method in ("mv", "em") for seed in (0, 1)),
    *(
        replace(result(method=method, network="cnn_digits", recipe=Recipe(epochs=2)), test_accuracy=0.5)
        for method in ("mv", "em")
    ),
    result(dataset="labelme", pattern="real", noise_rate=None, n_workers=None),
    failed(cell(seed=2), "Traceback:\nValueError: [/red] $\\frac{$ \x1b[2J"),
)


def rows_of(table: str) -> pa.Table:
    return to_tables(MADE, [f"attempt-{number}" for number in range(len(MADE))], PROVENANCE)[table]


def changed(rows: pa.Table, column: str, value: Any) -> pa.Table:
    """The rows with one value in the whole column."""
    field = rows.schema.field(column)
    return put(rows, column, pa.repeat(pa.scalar(value, field.type), rows.num_rows))


def put(rows: pa.Table, column: str, values: Any) -> pa.Table:
    return rows.set_column(rows.column_names.index(column), rows.schema.field(column), pa.array(values))


def odd_rows(table: str, odd: Mapping[pa.DataType, Sequence[Any]]) -> Iterator[pa.Table]:
    """Yield the rows of a table with each odd value in each column; all are other attempts of other cells."""
    rows = rows_of(table)
    if table == "cells":
        rows = rows.take([0, 4, 6])
    for field in rows.schema:
        for place, value in enumerate(odd[field.type]):
            names = [f"{field.name}-{place}-{row}" for row in range(rows.num_rows)]
            unique = put(rows, "attempt", names)
            if table == "cells":
                unique = put(unique, "cell_id", names)
            yield changed(unique, field.name, value)


def make_folder(path: Path, odd: Mapping[pa.DataType, Sequence[Any]]) -> Path:
    """A folder with sound rows, odd rows, and things that are no files among the parts."""
    store = ResultStore(path)
    store.create()
    store.write(MADE, PROVENANCE)
    for table in TABLES:
        store.write_rows(table, pa.concat_tables(odd_rows(table, odd)))
    os.mkfifo(path / "cells" / STRAY)
    (path / "curves" / STRAY).mkdir()
    (path / "runs").mkdir()
    (path / "runs" / "[x].json").write_text("[1]")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("odd") / "r[1]", ODD)


def test_rows_of_the_project_are_sound() -> None:
    for table in TABLES:
        assert row_faults(rows_of(table)) == {}


COMMANDS = {
    "status": ["status", "{r}"],
    "status --json": ["status", "{r}", "--json"],
    "watch": ["watch", "{r}"],
    "diff": ["results", "diff", "{r}", "{r}"],
    "export": ["results", "export", "{r}", "--csv", "{out}"],
    "export --flatten": ["results", "export", "{r}", "--csv", "{out}", "--flatten"],
    "merge": ["results", "merge", "{r}", "--out", "{out}/merged"],
    "compact": ["results", "compact", "{r}", "--drop-superseded"],
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=list(COMMANDS))
def test_a_command_names_damaged_rows_once_and_goes_on(
    folder: Path, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([word.format(r=folder, out=tmp_path / "out") for word in words])
    printed = capsys.readouterr()
    assert code in (0, 1), printed.err
    assert code == 0 or words[1] == "compact" or words[0] == "watch"
    lines = printed.err.splitlines()
    assert all(line.startswith("damaged and left out: ") for line in lines)
    n_folders = 2 if words[1] == "diff" else 1
    if words[0] != "watch":
        assert sum(STRAY in line and "/cells/" in line for line in lines) == n_folders
        rows = [line for line in lines if "/cells/" in line and STRAY not in line]
        assert len(rows) == n_folders
        assert "such as row " in rows[0]
    assert len(lines) == len(set(lines)) * n_folders
    assert "\x1b" not in printed.out + printed.err


def test_verify_lists_damaged_rows_and_repair_moves_them_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(tmp_path / "r", {**ODD, TEXT: (None, "{")})
    n_sound = ResultStore(folder, tell=lambda line: None).read_rows("cells").num_rows
    main(["results", "verify", str(folder)])
    out = capsys.readouterr().out
    assert "row 1: cell_id is missing" in out
    assert "2 damaged files:" in out
    main(["results", "verify", str(folder), "--repair"])
    capsys.readouterr()
    main(["results", "verify", str(folder)])
    again = capsys.readouterr()
    assert "damaged" not in again.out + again.err
    assert ResultStore(folder).read_rows("cells").num_rows == n_sound


@pytest.mark.parametrize("marker", ["Infinity", '{"schema_version": Infinity}', '{"schema_version": 1.0}', "[" * 100_000])
def test_an_odd_marker_is_one_line(folder: Path, tmp_path: Path, marker: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / MARKER).write_text(marker)
    with pytest.raises(ResultsError, match="is not a marker of a results folder"):
        ResultStore(other)


def test_a_marker_that_is_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / MARKER)
    with pytest.raises(ResultsError, match="it is not a file"):
        ResultStore(tmp_path)


FEW = {**ODD, TEXT: (None, r"$\frac{$", "[/]", "../../../x", "名前", "x" * 499)}


def test_a_report_leaves_damaged_rows_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder(tmp_path / "r[1]", FEW)
    assert main(["analyze", str(folder), "--out", str(tmp_path / "report")]) == 0
    printed = capsys.readouterr()
    assert "damaged and left out: " in printed.err
    assert "[/]" in printed.out
    assert f"{tmp_path / 'report'}/report.html" in printed.out
    assert {path.parent for path in tmp_path.rglob("*.svg")} == {tmp_path / "report"}


def test_a_sweep_computes_the_cells_of_damaged_rows_again(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "r [bold]x"
    monkeypatch.setenv("PWD", str(tmp_path))
    words = [
        "sweep", "--preset", "laptop", "--backend", "inline", "--results", str(results), "--methods", "mv",
        "--patterns", "uniform", "--workers", "3", "--seeds", "0", "1", "--epochs", "1", "--n-train", "100",
    ]  # fmt: skip
    assert main(words) == 0
    store = ResultStore(results)
    rows = store.read_rows("cells")
    for part in store.parts("cells"):
        store.delete(part.path)
    store.write_rows("cells", put(rows, "versions", [None, rows["versions"][1].as_py()]))
    (results / "runs" / "x.json").write_text("[1]")
    capsys.readouterr()
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "2 cells, 1 done before, 1 to compute" in printed
    assert printed.count("versions is missing") == 1
    assert printed.count("runs/x.json: it is no run record") == 1
    assert len(ResultStore(results, tell=lambda line: None).read_cells()) == 2
    assert f"tables    crowdml analyze {shlex.quote(str(results))}\n" in printed


def test_a_tree_without_git_has_a_report(tmp_path: Path) -> None:
    """A container image has a commit and does not know whether files differ from it."""
    store = ResultStore(tmp_path / "r")
    store.create()
    store.write(MADE[:2], replace(PROVENANCE, git_commit="c0ffee", git_dirty=None))
    store.write(MADE[2:4], replace(PROVENANCE, git_commit=None, git_dirty=None))
    store.write(MADE[4:], replace(PROVENANCE, git_commit="0ddba11", git_dirty=True))
    page = write_report(store.location).html.read_text()
    assert "0ddba11 and uncommitted changes, c0ffee<" in page
