"""The code of the benchmarks, on tiny crowds and without crowd-kit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import aggregation, real_crowds
from benchmarks.peers import PEERS, run_ours
from crowdml import methods
from crowdml.aggregation import MajorityVote
from tests.crowds import simulated


@pytest.mark.parametrize("name", PEERS)
def test_our_version_of_every_method_runs(name: str) -> None:
    crowd, truth = simulated(n_items=40, n_classes=2)
    answer = run_ours(name, crowd, n_iter=3)()
    assert answer.labels.shape == truth.shape
    if PEERS[name].same_iterations:
        assert answer.n_iter == 3


def test_a_fit_is_measured_and_compared_with_the_labels_of_the_peer(tmp_path: Path) -> None:
    crowd, truth = simulated(n_items=200, n_classes=2)
    aggregation._save(tmp_path / "crowd.npz", crowd, truth)
    np.save(tmp_path / "theirs.npy", np.where(np.arange(200) < 20, 1 - truth, truth))
    again, same_truth = aggregation._load(tmp_path / "crowd.npz")
    row = aggregation._fit(again, same_truth, side="ours", method="mv", answer=str(tmp_path / "theirs.npy"))
    assert row["error"] == (MajorityVote().fit(crowd).labels != truth).mean()
    assert 0.5 < row["same"] < 1
    assert row["wall"] > 0
    floor = aggregation._floor(again)
    assert floor["iteration"] > 0
    slower = {**row, "wall": 10 * row["wall"], "cpu": 20 * row["wall"]}
    table = pd.DataFrame(
        [
            {"case": "classes-10", "method": "mv", "side": "ours", "failure": "", **row},
            {"case": "classes-10", "method": "mv", "side": "crowd-kit", "failure": "", **slower},
            {"case": "classes-10", "side": "floor", **floor},
        ]
    )
    text = aggregation.as_text(table)
    assert "| mv |" in text
    assert "| 10 |" in text
    assert "times the floor" in text


def test_the_best_method_has_the_highest_mean_accuracy() -> None:
    rng = np.random.default_rng(0)
    credits = {}
    for crowd in ("one", "two"):
        for method, share in (("good", 0.9), ("bad", 0.5)):
            credits[crowd, method] = (rng.random(300) < share).astype(float)
    text = real_crowds.best_on_average(credits, ["bad", "good", "absent"], draws=200)
    assert text.index("| good |") < text.index("| bad |")
    assert "| good | " in text
    assert "100 %" in text


def test_gaps_are_listed_with_their_source() -> None:
    rows = [("web", "em", "ours", 0.80), ("web", "em", "crowd-kit", 0.81), ("rte", "em", "ours", 0.9)]
    table = pd.DataFrame(rows, columns=["crowd", "method", "side", "accuracy"])
    published = pd.DataFrame([("rte", "em", 0.902, "a paper")], columns=["crowd", "method", "accuracy", "source"])
    text = real_crowds.gaps(table, published)
    assert "em on web: 80.00, crowd-kit 1.4.2: 81.00" in text
    assert "rte" not in text


def test_published_figures_are_of_existing_methods() -> None:
    published = pd.read_csv(real_crowds.PUBLISHED)
    assert set(published.method) <= set(methods.REGISTRY)
    assert published.accuracy.between(0, 1).all()
