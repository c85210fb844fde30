from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from analysis.figures import figures
from analysis.load import load
from analysis.real_crowds import crowd_tables
from analysis.report import write_report
from analysis.statistics import compare_pair
from analysis.tables import ERROR, tables, to_csv, to_html, to_latex, to_markdown, to_rich
from crowdml.datasets import crowd_names
from crowdml.experiment.result import CellResult
from crowdml.learning.recipe import Recipe
from tests.analysis.frames import broken, folder, ok


def real(error: float, dataset: str, method: str, **changes: Any) -> CellResult:
    return ok(
        error, dataset=dataset, method=method, pattern="real", **{"noise_rate": None, "n_workers": None, **changes}
    )


def results() -> list[CellResult]:
    return [
        real(0.1, "web", "mv"), real(0.05, "web", "em"), real(0.2, "bluebird", "mv"), real(0.3, "bluebird", "em"),
        real(0.4, "rte", "mv"), real(0.15, "web", "mv", missing_rate=0.3), real(0.25, "web", "mv", n_workers=9),
        broken(dataset="rte", method="em", pattern="real", noise_rate=None, n_workers=None),
    ]  # fmt: skip


def test_methods_by_crowds_by_hand(tmp_path: Path) -> None:
    few, whole, thinned = crowd_tables(load(folder(tmp_path / "r", results())))
    assert whole.rows == (("mv",), ("em",))
    assert whole.columns == ("bluebird", "rte", "web", "mean")
    expected = np.array([[80, 60, 90, 230 / 3], [70, np.nan, 95, np.nan]])
    assert whole.mean == pytest.approx(expected, nan_ok=True)
    # The best method of a crowd is the best of a column; em has no result on rte.
    assert whole.best.tolist() == [[True, True, False, True], [False, False, True, False]]
    assert whole.caption == "real crowds: accuracy (%), 1 seed"
    assert few.caption == "real crowds, 9 of their workers: accuracy (%), 1 seed"
    assert thinned.caption == "real crowds, 30 % of the labels removed (floor): accuracy (%), 1 seed"
    assert thinned.columns == ("web",)


def test_a_table_of_crowds_in_every_form(tmp_path: Path) -> None:
    (table,) = crowd_tables(load(folder(tmp_path / "r", results()[:5])))
    assert "| method | bluebird | rte | web | mean |" in to_markdown(table)
    assert "| em | 70.00 | - | **95.00** | - |" in to_markdown(table)
    assert r"\begin{tabular}{lrrrr}" in to_latex(table)
    assert r"method & bluebird & rte & web & mean \\" in to_latex(table)
    assert "<th>method</th><th>bluebird</th>" in to_html(table)
    assert to_csv(table).startswith("method,bluebird mean,bluebird std,rte mean")


def test_a_wide_table_is_split_into_parts(tmp_path: Path) -> None:
    made = [real(0.1, name, method) for name in crowd_names() for method in ("mv", "minimax_entropy")]
    (table,) = crowd_tables(load(folder(tmp_path / "r", made)))
    console = Console(width=80, record=True, file=(tmp_path / "out").open("w"))
    console.print(to_rich(table))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("minimax_entropy") for line in lines) > 1
    assert sum(line.count("90.00") for line in lines) == 2 * (len(crowd_names()) + 1)


def test_real_and_simulated_cells_are_in_different_tables(tmp_path: Path) -> None:
    simulated = [ok(0.5, method=method, n_workers=3) for method in ("mv", "em")]
    cells = load(folder(tmp_path / "r", [*results(), *simulated]))
    (table,) = tables(cells)
    assert table.rows == (("uniform", 3, 0.0),)
    assert "| uniform | 3 | 0 |" in to_markdown(table)
    assert len(crowd_tables(cells)) == 3
    assert all("digits" in name for name in figures(cells))
    pair = compare_pair(cells, "mv", "em", ERROR)
    assert pair is not None
    assert pair.n_pairs == 3  # web, bluebird and the simulated crowd
    report = write_report(tmp_path / "r")
    assert "real crowds" in report.html.read_text()
    assert {path.name for path in report.files} >= {"table-01-error.csv", "table-02-accuracy.csv"}


def test_without_real_crowds_there_is_no_table(tmp_path: Path) -> None:
    assert crowd_tables(load(folder(tmp_path / "r", [ok(0.5)]))) == []


def test_networks_on_real_crowds_have_a_table_and_no_two_recipes_are_averaged(tmp_path: Path) -> None:
    real = {"pattern": "real", "noise_rate": None, "n_workers": None, "network": "mlp128"}
    short, long = Recipe(epochs=1), Recipe(epochs=9)
    results = [
        ok(0.2, 0.7 + 0.02 * seed, dataset=name, method=method, seed=seed, recipe=short, **real)
        for name in ("labelme", "music") for method in ("em", "ccem") for seed in (0, 1)
    ] + [ok(0.2, 0.9, dataset="labelme", method="ccem", recipe=long, **real)]  # fmt: skip
    labels, first, second = crowd_tables(load(folder(tmp_path / "r", results)))
    assert labels.measure.title == "accuracy"
    assert first.measure.title == second.measure.title == "test accuracy"
    assert first.columns == ("labelme", "music", "mean")
    assert first.mean == pytest.approx(np.full((2, 3), 71.0))
    assert (second.rows, second.columns) == ((("ccem",),), ("labelme",))
    assert second.mean.tolist() == [[pytest.approx(90)]]
    assert "mlp128" in first.title
