from __future__ import annotations

from pathlib import Path

import pytest

from analysis.load import load
from analysis.published import network_tables as published_networks
from analysis.report import write_report
from analysis.tables import tables
from crowdml.learning.recipe import Recipe
from tests.analysis.frames import folder, ok

NNAQC = {"dataset": "mnist", "pattern": "random_simplex", "n_workers": 1, "network": "lenet"}
RECIPE = Recipe(epochs=20)


def test_the_tables_of_the_papers_are_complete() -> None:
    table = published_networks.published_networks()
    assert set(table["source"]) >= {"NNAQC", "JoCoR", "noise adaptation layer"}
    assert not table.duplicated(["source", "table", *published_networks.KEYS]).any()
    assert table["test_accuracy"].between(0, 100).all()
    # NNAQC Table 1, CIFAR-10 with 50,000 items and noise rate 0.5: a test error of 39.47 %.
    row = table.query("source == 'NNAQC' and table == 'table1' and dataset == 'cifar10' and noise_rate == 0.5")
    assert row[row["n_train"].isna() & (row["method"] == "mv")]["test_accuracy"].tolist() == [60.53]


def test_our_numbers_are_compared_with_the_papers(tmp_path: Path) -> None:
    results = [
        ok(0.5, 0.90, method="nnaqc", noise_rate=0.5, seed=0, recipe=RECIPE, **NNAQC),
        ok(0.5, 0.92, method="nnaqc", noise_rate=0.5, seed=1, recipe=RECIPE, **NNAQC),
        ok(0.3, 0.95, method="base", noise_rate=0.3, recipe=RECIPE, **NNAQC),
        ok(0.3, 0.95, method="base", noise_rate=0.25, recipe=RECIPE, **NNAQC),
        ok(0.3, 0.95, method="base", noise_rate=0.3, recipe=RECIPE, **{**NNAQC, "n_workers": 3}),
        ok(0.2, 0.83, method="mv", dataset="labelme", pattern="real", noise_rate=None, n_workers=None,
           network="mlp128", recipe=RECIPE),
    ]  # fmt: skip
    frame = published_networks.compare_networks(load(folder(tmp_path / "r", results)))
    first = frame[frame["table"] == "table1"].set_index("method")
    assert first["ours"].to_dict() == {"nnaqc": pytest.approx(91), "mv": pytest.approx(95)}
    assert first["noise_rate"].to_dict() == {"nnaqc": 0.5, "mv": 0.3}
    assert set(frame[frame["dataset"] == "labelme"]["published"]) == {85.61, 77.2, 80.4}
    text = published_networks.to_markdown(frame)
    published = published_networks.published_networks()
    theirs = published.query("table == 'table1' and dataset == 'mnist' and noise_rate == 0.5 and method == 'nnaqc'")
    number = theirs[theirs["n_train"].isna()]["test_accuracy"].item()
    assert f"91.00 / {number:.2f} ({91 - number:+.2f})" in text
    assert "NNAQC, table1: mnist, lenet, 20 epochs" in text


def test_without_networks_there_is_nothing_to_compare(tmp_path: Path) -> None:
    assert published_networks.compare_networks(load(folder(tmp_path / "r", [ok(0.1)]))).empty


def test_noise_rates_are_rows_and_the_report_contains_the_comparison(tmp_path: Path) -> None:
    results = [
        ok(rate, 0.9 - rate, method=method, noise_rate=rate, recipe=RECIPE, **NNAQC)
        for rate in (0.0, 0.3, 0.5)
        for method in ("base", "nnaqc")
    ]
    path = folder(tmp_path / "r", results)
    accuracy, error = tables(load(path))
    assert accuracy.axes == ("pattern", "noise_rate")
    assert accuracy.rows == (("random_simplex", 0.0), ("random_simplex", 0.3), ("random_simplex", 0.5))
    assert accuracy.columns == ("mv", "nnaqc")
    assert accuracy.mean[:, 0] == pytest.approx([90, 60, 40])
    assert error.mean[:, 1] == pytest.approx([0, 30, 50])
    report = write_report(path)
    names = {file.name for file in report.files}
    assert {"published-networks.csv", "published-networks.md", "01-mnist-accuracy.png"} <= names
    assert "NNAQC, table1" in report.html.read_text()
