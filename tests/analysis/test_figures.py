from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.figures import draw_measure, figures
from analysis.load import load, load_curves, panels
from analysis.tables import ERROR
from crowdml.learning.recipe import Recipe
from tests.analysis.frames import folder, ok, two_methods


def lines(ax) -> dict[str, tuple[list[float], list[float], list[float]]]:
    """Return for each method (x, y, half lengths of the error bars)."""
    found = {}
    for container in ax.containers:
        line, _, (bars,) = container
        half = [(segment[1][1] - segment[0][1]) / 2 for segment in bars.get_segments()]
        found[container.get_label()] = (list(line.get_xdata()), list(line.get_ydata()), half)
    return found


def test_a_figure_shows_means_and_deviations(tmp_path: Path) -> None:
    cells = load(two_methods(tmp_path / "r"))
    ((title, panel),) = panels(cells)
    (ax,) = draw_measure(panel, ERROR, title).axes
    drawn = lines(ax)
    assert drawn["mv"] == (pytest.approx([3, 9]), pytest.approx([50, 20]), pytest.approx([1, 1]))
    assert drawn["em"] == (pytest.approx([3, 9]), pytest.approx([55, 15]), pytest.approx([1, 1]))
    assert ax.get_title() == "uniform"


def test_a_figure_has_one_column_per_pattern_and_one_row_per_missing_rate(tmp_path: Path) -> None:
    results = [
        ok(0.5, pattern=pattern, missing_rate=rate) for pattern in ("flip", "uniform", "bimodal") for rate in (0.0, 0.3)
    ]
    ((title, panel),) = panels(load(folder(tmp_path / "r", results)))
    figure = draw_measure(panel, ERROR, title)
    assert [ax.get_title() for ax in figure.axes[:3]] == ["uniform", "bimodal", "flip, affected classes"]
    assert len(figure.axes) == 6
    assert figure.axes[3].get_ylabel() == "aggregation error (%)\n30 % missing"


def test_a_figure_of_an_unfinished_grid_shows_the_finished_cells(tmp_path: Path) -> None:
    results = [
        ok(0.5, pattern="uniform", n_workers=9, method="mv"), ok(0.6, pattern="uniform", n_workers=3, method="mv"),
        ok(0.4, pattern="bimodal", method="em"), ok(0.3, pattern="bimodal", missing_rate=0.3, method="mv"),
    ]  # fmt: skip
    ((title, panel),) = panels(load(folder(tmp_path / "r", results)))
    figure = draw_measure(panel, ERROR, title)
    assert [list(lines(ax)) for ax in figure.axes] == [["mv"], ["em"], [], ["mv"]]
    assert lines(figure.axes[0])["mv"][:2] == (pytest.approx([3, 9]), pytest.approx([60, 50]))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["mv", "em"]


def test_each_panel_has_its_figures_and_curves(tmp_path: Path) -> None:
    location = two_methods(tmp_path / "r")
    made = figures(load(location), load_curves(location))
    assert list(made) == ["01-digits-accuracy", "01-digits-error", "01-digits-curves"]
    (ax,) = made["01-digits-curves"].axes
    (line,) = ax.lines
    assert np.asarray(line.get_xydata()).tolist() == [[1, 50], [2, 80]]


def test_machine_annotators_without_a_noise_rate_have_figures(tmp_path: Path) -> None:
    machines = {
        "pattern": "machine_annotators",
        "noise_rate": None,
        "network": "cnn_digits",
        "recipe": Recipe(epochs=2),
    }
    curve = ((1, "test_accuracy", 0.5), (2, "test_accuracy", 0.8))
    results = [replace(ok(0.2, 0.8, method=method, **machines), curves=curve) for method in ("mv", "ccem")]
    location = folder(tmp_path / "r", results)
    cells = load(location)
    drawn = figures(cells, load_curves(location, cells))
    assert set(drawn) == {"01-digits-accuracy", "01-digits-error", "01-digits-curves"}
    assert len(drawn["01-digits-curves"].axes[0].lines) == 2
