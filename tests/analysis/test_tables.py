from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from analysis.load import load, panels, summarise
from analysis.tables import ACCURACY, ERROR, tables, to_csv, to_latex, to_markdown, to_rich
from tests.analysis.frames import broken, folder, ok, two_methods


def test_means_deviations_and_winners_by_hand(tmp_path: Path) -> None:
    accuracy, error = tables(load(two_methods(tmp_path / "r")))
    assert (accuracy.measure, error.measure) == (ACCURACY, ERROR)
    assert error.rows == (("uniform", 3, 0.0), ("uniform", 9, 0.0))
    assert error.columns == ("mv", "em")
    assert error.mean == pytest.approx(np.array([[50, 55], [20, 15]]))
    assert error.std == pytest.approx(np.full((2, 2), 1.0))
    assert error.best.tolist() == [[True, False], [False, True]]
    assert accuracy.best.tolist() == [[False, True], [False, True]]
    assert error.cell(0, 0) == "50.00 ± 1.00"
    assert error.caption == "digits, 60 % noise: aggregation error (%), mean ± std over 3 seeds"


def test_renderings_mark_the_best(tmp_path: Path) -> None:
    _, error = tables(load(two_methods(tmp_path / "r")))
    assert "| uniform | 3 | 0 | **50.00 ± 1.00** | 55.00 ± 1.00 |" in to_markdown(error)
    latex = to_latex(error)
    assert r"uniform & 9 & 0 & 20.00 $\pm$ 1.00 & \textbf{15.00 $\pm$ 1.00} \\" in latex
    assert latex.count("{") == latex.count("}")
    assert to_csv(error).splitlines()[0] == "pattern,n_workers,missing_rate,mv mean,mv std,em mean,em std"
    console = Console(width=80, record=True, color_system="truecolor", force_terminal=True)
    with console.capture() as capture:
        console.print(to_rich(error))
    bold = [line for line in capture.get().splitlines() if "\x1b[1;32m" in line]
    assert "50.00±1.0" in bold[0].split("\x1b[1;32m")[1][:12]


def test_five_methods_fit_eighty_columns(tmp_path: Path) -> None:
    methods = ("mv", "em", "minimax_entropy", "em_hard", "tests.cells:Slow")
    results = [ok(0.5 + 0.2 * seed, method=method, seed=seed) for method in methods[:4] for seed in (0, 1)]
    (table,) = tables(load(folder(tmp_path / "r", results)))
    console = Console(width=80)
    with console.capture() as capture:
        console.print(to_rich(table))
    assert "60.00±14.1" in capture.get()
    assert "…" not in capture.get()


def test_only_seeds_are_averaged(tmp_path: Path) -> None:
    results = [ok(0.1, seed=0), ok(0.3, seed=0, noise_rate=0.3), ok(0.5, seed=0, n_train=100), ok(0.7, dataset="mnist")]
    made = tables(load(folder(tmp_path / "r", results)))
    assert sorted(mean for table in made for mean in table.mean[:, 0]) == pytest.approx([10, 30, 50, 70])
    titles = sorted(table.title for table in made)
    assert titles == [
        "digits, 3 workers, all training items",
        "digits, 60 % noise, 100 training items",
        "mnist, 60 % noise",
    ]


def test_names_show_options_of_a_method_and_a_pattern_that_differ(tmp_path: Path) -> None:
    results = [
        ok(0.1), ok(0.2, method_options=(("ties", "random"),)), ok(0.3, pattern="bimodal"),
        ok(0.4, pattern="bimodal", pattern_options=(("discretise", "round"),)),
    ]  # fmt: skip
    (table,) = tables(load(folder(tmp_path / "r", results)))
    assert table.columns == ("mv (defaults)", "mv (ties=random)")
    assert [row[0] for row in table.rows] == ["uniform", "bimodal (defaults)", "bimodal (discretise=round)"]
    assert table.cell(1, 1) == "-"


def test_failed_cells_are_loaded_and_never_averaged(tmp_path: Path) -> None:
    cells = load(folder(tmp_path / "r", [ok(0.5, seed=0), broken(seed=1)]))
    assert sorted(cells["status"]) == ["failed", "ok"]
    ((_, panel),) = panels(cells)
    assert summarise(panel, "aggregation_error")["n_seeds"].tolist() == [1]


def test_one_seed_has_no_deviation_and_one_method_is_not_marked(tmp_path: Path) -> None:
    (table,) = tables(load(folder(tmp_path / "r", [ok(0.5, pattern="flip")])))
    assert table.cell(0, 0) == "50.00"
    assert not table.best.any()
    assert table.caption.endswith("aggregation error (%), 1 seed; flip: affected classes")


def test_all_methods_of_a_tie_at_the_printed_precision_are_marked(tmp_path: Path) -> None:
    (table,) = tables(load(folder(tmp_path / "r", [ok(0.50001), ok(0.5, method="em"), ok(0.6, method="em_hard")])))
    assert table.best.tolist() == [[True, True, False]]
