from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from crowdml.cli.main import main
from crowdml.files import read_crowd


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line: str) -> int:
    return main(f"simulate {line}".split())


SMALL = "--items 400 --workers 7 --classes 4 --rate 0.3"


def test_files_hold_the_crowd_that_was_asked_for(capsys) -> None:
    assert run(f"{SMALL} --out answers.csv --truth-out truth.parquet") == 0
    crowd, truth = read_crowd("answers.csv"), pd.read_parquet("truth.parquet")
    assert (crowd.n_items, crowd.n_workers, crowd.n_classes, crowd.n_annotations) == (400, 7, 4, 2800)
    assert truth["label"].value_counts().tolist() == [100] * 4
    assert truth["label"].tolist() != sorted(truth["label"])
    right = (crowd.label == truth["label"].to_numpy()[crowd.item]).mean()
    assert right == pytest.approx(0.7, abs=0.03)
    assert f"2,800 labels of 400 items by 7 workers, {100 * right:.1f} % right; wrote" in capsys.readouterr().out


def test_the_seed_decides() -> None:
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        run(f"{SMALL} --seed {seed} --out {name}.csv")
    texts = [Path(f"{name}.csv").read_text() for name in ("one", "same", "other")]
    assert texts[0] == texts[1] != texts[2]


def test_labels_per_item_missing_labels_and_worker_models() -> None:
    assert run(f"{SMALL} --labels-per-item 3 --out balanced.csv") == 0
    assert set(read_crowd("balanced.csv").labels_per_item) == {3}
    line = "--assignment power_law --assignment-option labels_per_item=3 exponent=2 --out uneven.csv"
    assert run(f"{SMALL} {line}") == 0
    uneven = read_crowd("uneven.csv").labels_per_worker
    assert uneven[0] > 3 * uneven[-1]
    assert run(f"{SMALL} --missing-rate 0.5 --missing floor --out missing.csv") == 0
    assert set(read_crowd("missing.csv").labels_per_item) == {4}
    line = "--worker-model hammer_spammer --worker-option hammers=0 --out spam.csv --truth-out truth.csv"
    assert run(f"{SMALL} {line}") == 0
    crowd, truth = read_crowd("spam.csv"), pd.read_csv("truth.csv")["label"].to_numpy()
    assert (crowd.label == truth[crowd.item]).mean() == pytest.approx(0.25, abs=0.03)
    line = "--rate 0 --worker-model separable_uniform --worker-option gamma=0.01 --out one.csv --truth-out truth.csv"
    assert run(f"{SMALL} {line}") == 0
    crowd, truth = read_crowd("one.csv").to_dense(), pd.read_csv("truth.csv")["label"].to_numpy()
    assert ((crowd == truth[:, None]).mean(axis=0) > 0.9).tolist() == [True, *[False] * 6]


def test_pattern_options_are_python_values() -> None:
    assert run(f"{SMALL} --pattern flip --pattern-option pairs=((0,1),) --out flip.csv --truth-out truth.csv") == 0
    crowd, truth = read_crowd("flip.csv"), pd.read_csv("truth.csv")["label"].to_numpy()
    wrong = crowd.label != truth[crowd.item]
    assert set(zip(truth[crowd.item][wrong], crowd.label[wrong], strict=True)) == {(0, 1)}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{SMALL}", "the following arguments are required: --out"),
        (f"{SMALL} --pattern unifrom --out a.csv", "unknown noise pattern 'unifrom'; did you mean uniform"),
        (f"{SMALL} --pattern-option x=1 --out a.csv", "unknown option of pattern uniform 'x'"),
        (f"{SMALL} --worker-model homogenous --out a.csv", "did you mean homogeneous"),
        (f"{SMALL} --assignment balanced --out a.csv", "assignment balanced needs the assignment option"),
        (f"{SMALL} --labels-per-item 8 --out a.csv", "labels_per_item must be at most n_workers = 7, got 8"),
        (f"{SMALL} --missing-rate 1 --out a.csv", "missing_rate must be in [0, 1), got 1"),
        (f"{SMALL} --seed -1 --out a.csv", "--seed must be at least 0, got -1"),
        (f"{SMALL} --out a.csv --truth-out a.csv", "each output needs its own file"),
        (f"{SMALL} --out a.txt", "a.txt: the ending must be one of"),
        ("--items 0 --workers 1 --classes 2 --rate 0 --out a.csv", "--items must be at least 1, got 0"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder: Path, capsys, line: str, message: str) -> None:
    try:
        code = run(line)
    except SystemExit as left:
        code = left.code
    captured = capsys.readouterr()
    assert code == 2
    assert message in captured.err
    assert captured.err.startswith("crowdml simulate: error: ")
    assert captured.err.count("\n") == 1
    assert os.listdir(folder) == []


@pytest.mark.parametrize(
    "sizes",
    [
        "--items 99999999999 --workers 5 --classes 3",
        "--items 10000000 --workers 1000000 --classes 3",
        "--items 10 --workers 2 --classes 1000000",
    ],
)
def test_sizes_that_do_not_fit_are_refused_before_any_work(capsys, sizes: str) -> None:
    assert run(f"{sizes} --rate 0.3 --out s.csv") == 2
    error = capsys.readouterr().err
    assert "of memory" in error
    assert "simulate fewer items, labels or classes" in error
    assert error.count("\n") == 1
    assert not Path("s.csv").exists()
