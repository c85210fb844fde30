from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.labels_needed import fewest_labels, labels_needed, main

CURVE = pd.DataFrame(
    {
        "labels_per_item": [1, 3, 5, 9],
        "accuracy": [0.6, 0.8, 0.895, 0.9],
        "standard_error": [0.02, 0.02, 0.01, 0.01],
        "measure": "accuracy",
    }
)


def test_the_figure_shows_the_curve_and_where_it_is_enough() -> None:
    axes = labels_needed(CURVE).axes[0]
    assert np.asarray(axes.lines[0].get_ydata(), float).tolist() == pytest.approx([60, 80, 89.5, 90])
    assert axes.get_ylabel() == "accuracy (%)"
    assert "5 are enough (within 1 %)" in axes.texts[0].get_text()
    assert "still rising at 3" in labels_needed(CURVE.head(2)).axes[0].texts[0].get_text()
    assert (fewest_labels(CURVE), fewest_labels(CURVE, 0.001), fewest_labels(CURVE, 0.5)) == (5, 9, 1)


def test_the_command_writes_the_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    CURVE.to_csv(tmp_path / "curve.csv", index=False)
    assert main([str(tmp_path / "curve.csv"), "--out", str(tmp_path / "curve.png")]) == 0
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "labels an item: 5 are enough (within 1 %)" in capsys.readouterr().out
    CURVE.drop(columns="accuracy").to_csv(tmp_path / "bad.csv", index=False)
    assert main([str(tmp_path / "bad.csv"), "--out", str(tmp_path / "x.png")]) == 2
    assert "missing accuracy" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()
