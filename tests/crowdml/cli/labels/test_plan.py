from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from crowdml.cli.main import main
from tests.crowds import simulated


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    crowd, truth = simulated(n_items=120)
    crowd.to_frame().to_csv(tmp_path / "answers.csv", index=False)
    pd.DataFrame({"task": range(120), "label": truth}).to_csv(tmp_path / "truth.csv", index=False)
    return tmp_path


def test_the_next_labels_and_the_curve_are_written(answers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted, curve, truth = (str(answers / name) for name in ("next.csv", "curve.csv", "truth.csv"))
    given = ["plan", str(answers / "answers.csv"), "--next", wanted, "--n", "7", "--enough", curve, "--truth", truth]
    assert main([*given, "--labels-per-item", "1", "6", "--samples", "2"]) == 0
    rows = pd.read_csv(wanted)
    assert len(rows) == 7
    assert rows.expected_gain.is_monotonic_decreasing
    assert pd.read_csv(curve).labels_per_item.tolist() == [1, 6]
    printed = capsys.readouterr().out
    assert "wrote" in printed
    assert "labels per task: still rising at 6" in printed


def test_the_figure_needs_no_table(answers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = answers / "curve.png"
    given = ["plan", str(answers / "answers.csv"), "--figure", str(figure), "--margin", "1"]
    assert main([*given, "--labels-per-item", "1", "6", "--samples", "1"]) == 0
    assert figure.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "labels per task: 1 are enough (within 100 %)" in printed
    assert f"wrote {figure}" in printed


def test_a_plan_without_output_is_refused(answers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(answers / "answers.csv")]) == 2
    assert "give --next FILE, --enough FILE or --figure FILE" in capsys.readouterr().err


def test_a_pool_adds_tasks_without_any_answer(answers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool, wanted = answers / "pool.csv", answers / "next.csv"
    pd.DataFrame({"task": [3, 500, 501, 500]}).to_csv(pool, index=False)
    assert main(["plan", str(answers / "answers.csv"), "--next", str(wanted), "--pool", str(pool)]) == 0
    rows = pd.read_csv(wanted)
    assert len(rows) == 122
    assert sorted(rows.task[:2]) == [500, 501]  # nothing is known about them
    assert rows.n_labels[:2].tolist() == [0, 0]
    assert main(["plan", str(answers / "answers.csv"), "--enough", str(wanted), "--pool", str(pool)]) == 2
    assert "--pool belongs to --next" in capsys.readouterr().err
