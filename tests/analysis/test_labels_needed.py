from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.labels_needed import fewest_labels, labels_needed, verdict

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
    assert verdict(CURVE) == "5 are enough (within 1 %)"
    assert (fewest_labels(CURVE), fewest_labels(CURVE, 0.001), fewest_labels(CURVE, 0.5)) == (5, 9, 1)
