"""The command without Ray; `sweeps/tuning/test_search_on_ray.py` tests the command on Ray."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from crowdml.cli.main import main
from sweeps.grid.grids import Block
from sweeps.grid.options_file import read_options

ROOT = Path(__file__).parents[4]
CROWD = ["--dataset", "digits", "--pattern", "uniform", "--n-train", "300"]
LABELS = ["--method", "em", *CROWD, "--noise-rate", "0.7", "--workers", "5", "--objective", "clean_validation"]
NETWORK = ["--method", "nnaqc", *CROWD, "--noise-rate", "0.5", "--workers", "1", "--epochs", "6"]


def run(*arguments: str, out: Path) -> int:
    return main(["tune", *arguments, "--backend", "inline", "--out", str(out)])


def best_of(frame: pd.DataFrame) -> pd.Series:
    """The first row of the highest value."""
    return frame.sort_values("value", ascending=False, kind="stable").iloc[0]


def trials(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out.with_name(f"{out.stem}.trials.parquet"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "nnaqk", *CROWD], "unknown method 'nnaqk'; did you mean nnaqc"),
        (["--method", "em", "--dataset", "digist"], "unknown data set 'digist'; did you mean digits"),
        (["--method", "em", "--dataset", "digits"], "--pattern is needed: the workers of digits are simulated"),
        (["--method", "em", *CROWD], "noise_rate must be given, because simulated workers have one"),
        ([*LABELS, "--noise-rate", "1.5"], "noise_rate must be in [0, 1), got 1.5"),
        ([*LABELS, "--options", "smoothness"], "--options smoothness: method em has no range for it (there are: "),
        ([*LABELS, "--recipe"], "--recipe: a cell of em on digits trains no network"),
        ([*NETWORK, "--recipe", "learning_rate"], "--recipe learning_rate: the recipe has no range for it"),
        ([*LABELS, "--seeds", "1", "1"], "seeds must be one or more different numbers, got [1, 1]"),
        ([*LABELS, "--seeds", "-1"], "seed must be at least 0, got -1"),
        ([*LABELS, "--validation", "1"], "validation share must be in (0, 1), got 1"),
        ([*LABELS, "--trials", "0"], "argument --trials: must be at least 1, got 0"),
        ([*LABELS, "--objective", "test"], "argument --objective: invalid choice: 'test'"),
        ([*LABELS, "--sampler", "cmaes", "--multi-objective"], "--sampler cmaes supports one objective"),
        ([*NETWORK, "--scheduler", "asha", "--multi-objective"], "--scheduler asha compares one objective"),
        ([*NETWORK, "--scheduler", "pbt"], "needs --backend ray"),
        ([*LABELS, "--study", "nodb://me:secret@host/x"], "cannot open the study nodb://host/x"),
        (["--method", "mv", *CROWD, "--noise-rate", "0.5", "--workers", "3"], "method mv has no option to search"),
        (
            ["--method", "em", "--network", "cnn_digitz", *LABELS[2:]],
            "(did you mean cnn_digits or cnn6_dropout?), got 'cnn_digitz'",
        ),
        (LABELS[2:], "the following arguments are required: --method"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: Any = run(*arguments, out=tmp_path / "best.toml")
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert "secret" not in error
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_prints_the_space_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*NETWORK, "--recipe", "--trials", "7", "--dry-run", out=tmp_path / "best.toml") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["kappa", "0.5", "to", "10,", "log", "3"] in lines
    assert ["recipe.weight_decay", "0.0", "or", "1e-06", "to", "0.1,", "log", "0.02"] in lines
    assert lines[-1][-6:] == ["0", "trials", "before,", "7", "to", "go"]
    assert list(tmp_path.iterdir()) == []


def test_a_search_writes_options_trials_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "made" / "best.toml"
    assert run(*LABELS, "--seeds", "0", "1", "--trials", "14", out=out) == 0
    printed = capsys.readouterr().out
    assert "crowdml sweep --methods em --method-options" in printed
    frame = trials(out)
    assert len(frame) == 14
    pd.testing.assert_frame_equal(
        frame[["trial", "value", "smoothing"]],
        pd.read_csv(out.with_suffix(".trials.csv"))[["trial", "value", "smoothing"]],
    )
    assert frame["value"].tolist() == pytest.approx(frame[["value_seed_0", "value_seed_1"]].mean(axis=1).tolist())
    best = best_of(frame)
    text = out.read_text()
    assert f"# objective: clean_validation {best['value']:.4f}, mean of seeds 0, 1" in text
    for start in ("# study: em on digits", "# test accuracy of these options: ", "# git commit: "):
        assert start in text
    options = read_options(out)
    assert options.methods["em"]["smoothing"] == best["smoothing"]
    block = Block(
        datasets=("digits",), patterns=("uniform",), methods=("em",), seeds=(0,), method_options=options.methods
    )
    assert dict(block.cells()[0].method_options) == options.methods["em"]
    for name in ("history.svg", "history.png", "importance.svg", "importance.png"):
        assert (out.parent / f"best.{name}").stat().st_size > 1000


def test_a_second_run_computes_only_the_missing_trials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "best.toml"
    assert run(*LABELS, "--trials", "4", out=out) == 0
    before, text = trials(out), out.read_text()
    capsys.readouterr()
    with monkeypatch.context() as patched:
        patched.setattr("sweeps.tuning.search_inline.evaluate_point", None)  # calling it would fail the trial
        patched.setattr("sweeps.tuning.final_test.accuracy_on_test", None)
        assert run(*LABELS, "--trials", "4", out=out) == 0
    assert "4 trials before, 0 to go" in capsys.readouterr().out
    assert out.read_text() == text
    assert run(*LABELS, "--trials", "6", out=out) == 0
    assert "4 trials before, 2 to go" in capsys.readouterr().out
    # Later trials change which trials are on the front.
    kept = before.columns.drop("pareto")
    pd.testing.assert_frame_equal(trials(out)[:4][kept], before[kept])
    assert len(trials(out)) == 6


@pytest.mark.parametrize("sampler", ["tpe", pytest.param("cmaes", marks=pytest.mark.slow)])
def test_a_search_finds_better_options_than_the_defaults(sampler: str, tmp_path: Path) -> None:
    """300 digits with half of the labels wrong: NNAQC's noise model learns too slowly at its default weight."""
    out = tmp_path / "best.toml"
    arguments = ["--options", "alpha", "kappa", "beta", "--objective", "clean_validation", "--scheduler", "none"]
    assert run(*NETWORK, *arguments, "--sampler", sampler, "--trials", "16", out=out) == 0
    frame = trials(out)
    assert frame["value"].max() > frame["value"][0] + 0.1
    assert frame.nlargest(3, "value")["alpha"].max() < 0.75


@pytest.mark.parametrize("scheduler", ["asha", pytest.param("median", marks=pytest.mark.slow)])
def test_worse_trials_are_stopped_early(scheduler: str, tmp_path: Path) -> None:
    out = tmp_path / "best.toml"
    assert run(*NETWORK, "--recipe", "--scheduler", scheduler, "--trials", "14", out=out) == 0
    frame = trials(out)
    stopped, ok = frame[frame["status"] == "stopped early"], frame[frame["status"] == "ok"]
    assert len(stopped) >= 2
    assert (ok["n_steps"] == 6).all()
    assert (stopped["n_steps"] < 6).all()
    assert stopped["value"].mean() < ok["value"].mean()


def test_two_objectives_mark_the_pareto_front(tmp_path: Path) -> None:
    out = tmp_path / "best.toml"
    arguments = ["--recipe", "batch_size", "lr", "--multi-objective", "--options", "alpha", "--n-train", "200"]
    assert run(*NETWORK, *arguments, "--trials", "8", out=out) == 0
    frame = trials(out)
    front = frame[frame["pareto"]].sort_values("seconds")
    assert front["value"].is_monotonic_increasing
    for _, trial in frame.iterrows():
        beaten = (frame["value"] > trial["value"]) & (frame["seconds"] < trial["seconds"])
        assert not (trial["pareto"] and beaten.any())
    assert (tmp_path / "best.pareto.svg").exists()
    recipe = read_options(out).recipes["digits"]
    assert set(recipe) == {"batch_size", "lr"}
    assert best_of(frame)["recipe.batch_size"] == recipe["batch_size"]


def test_noisy_validation_on_a_real_crowd(tmp_path: Path, data_root: Path) -> None:
    out = tmp_path / "best.toml"
    arguments = ["--method", "em", "--dataset", "rte", "--objective", "noisy_validation", "--trials", "12"]
    assert run(*arguments, out=out) == 0
    assert (trials(out)["value"] < 0).all()
    assert "test accuracy of the defaults: 9" in out.read_text()  # percent of the 800 items


def test_a_search_without_a_successful_trial_shows_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "best.toml"
    crowd = ["--dataset", "digits", "--pattern", "uniform", "--noise-rate", "0.5", "--workers", "3", "--n-train", "300"]
    arguments = ["--method", "em", *crowd, "--options", "smoothing", "--validation", "0.0001"]
    assert run(*arguments, "--trials", "3", out=out) == 3
    assert "no trial succeeded" in (error := capsys.readouterr().err)
    assert "holds out annotations" in error
    assert trials(out)["status"].tolist() == ["failed"] * 3
    assert not out.exists()


def test_an_interrupt_frees_the_place_of_the_running_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "best.toml"

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("sweeps.tuning.search_inline.evaluate_point", interrupt)
        assert run(*LABELS, "--trials", "2", out=out) == 130
    assert "stopped; the same command goes on" in capsys.readouterr().err
    start = time.monotonic()
    assert run(*LABELS, "--trials", "2", out=out) == 0
    assert time.monotonic() - start < 20  # it does not wait for a lost trial
    assert trials(out)["status"].tolist() == ["ok", "ok"]


def test_drivers_that_create_one_database_together_all_open_it(tmp_path: Path) -> None:
    code = "import sys; from sweeps.tuning.study import open_storage; sys.stdin.readline(); open_storage(sys.argv[1])"
    url = f"sqlite:///{tmp_path}/s.db"
    drivers = [
        subprocess.Popen([sys.executable, "-c", code, url], cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    time.sleep(4)  # all have imported what they need
    for driver in drivers:
        assert driver.stdin is not None
        driver.stdin.write(b"\n")
        driver.stdin.flush()
    for driver in drivers:
        _, errors = driver.communicate(timeout=60)
        assert driver.returncode == 0, errors.decode()


@pytest.mark.slow
def test_two_drivers_share_one_study(tmp_path: Path) -> None:
    """Two processes on one study: the requested number of trials, shared, and no point computed twice."""
    study = str(tmp_path / "shared.journal")
    seeds = [str(seed) for seed in range(5)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "sweeps/tune_method.py", *LABELS, "--seeds", *seeds, "--trials", "30", "--study", study,
             "--backend", "inline", "--out", str(tmp_path / f"{name}.toml")],
            cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for name in ("a", "b")
    ]  # fmt: skip
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    a, b = trials(tmp_path / "a.toml"), trials(tmp_path / "b.toml")
    assert len(a) == len(b) == 30
    assert a["trial"].tolist() == b["trial"].tolist()
    assert (a["status"] == "ok").all()
    assert len(Counter(a["driver"])) == 2
    computed = a[a["copy_of"].isna()]
    assert not computed.duplicated(["worker_model", "hard", "init", "smoothing", "diagonal", "class_prior"]).any()
    assert (tmp_path / "a.toml").read_text().splitlines()[-6:] == (tmp_path / "b.toml").read_text().splitlines()[-6:]


def test_the_help_names_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["tune", "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    for text in ("--objective", "--multi-objective", "--study", "--dry-run", "exit code", "pbt"):
        assert text in printed
