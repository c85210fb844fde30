from __future__ import annotations

from pathlib import Path

import pytest

from analysis.load import load
from analysis.published import aggregation_tables as published
from tests.analysis.frames import broken, folder, ok


def test_the_tables_of_the_paper_are_complete() -> None:
    for name in published.LABNET_TABLES:
        table = published.published(name)
        assert len(table) == 72
        assert set(table["method"]) == {"labnet", "mv", "em", "minimax_entropy"}
    row = published.published("labnet_table1").query(
        "method == 'labnet' and pattern == 'bimodal' and n_workers == 9 and missing_rate == 0"
    )
    assert row[["accuracy_mean", "aggregation_error_mean"]].to_numpy().tolist() == [[87.75, 4.19]]


def test_our_numbers_are_compared_with_the_paper(tmp_path: Path) -> None:
    common = {"dataset": "cifar10_labels", "pattern": "bimodal", "n_workers": 9}
    results = [
        ok(0.08, method="em", seed=0, **common), ok(0.09, method="em", seed=1, **common),
        ok(0.09, method="em_hard", **common), ok(0.2, method="mv", missing="round", **common),
        broken(method="mv", **common), ok(0.5, dataset="digits"),
    ]  # fmt: skip
    frame = published.compare(load(folder(tmp_path / "r", results)))
    assert frame["method"].tolist() == ["em", "em_hard"]
    soft, hard = frame.to_dict("records")
    assert (soft["dataset"], soft["measure"], soft["n_seeds"]) == ("cifar10", "aggregation_error", 2)
    assert soft["ours"] == pytest.approx(8.5)
    assert soft["published"] == hard["published"] == 8.51
    assert hard["difference"] == pytest.approx(0.49)
    text = published.to_markdown(frame, "aggregation_error")
    assert "| bimodal | 9 | 0 | 8.50 / 8.51 (-0.01) | 9.00 / 8.51 (+0.49) |" in text


def test_accuracy_is_compared_for_trained_cells(tmp_path: Path) -> None:
    results = [ok(0.5, 0.7, dataset="cifar10", method="labnet_instance", network="cnn8", recipe=_recipe())]
    frame = published.compare(load(folder(tmp_path / "r", results))).set_index("measure")
    assert frame.loc["accuracy", "published"] == 74.62
    assert frame.loc["accuracy", "difference"] == pytest.approx(70 - 74.62)


def test_differences_are_graded() -> None:
    assert [published.grade(value) for value in (0.6, -0.5, 1.9, -2.1)] == ["green", "green", "yellow", "red"]


def _recipe():
    from crowdml.learning.recipe import Recipe

    return Recipe(epochs=1)
