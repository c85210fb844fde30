"""The search on a Ray cluster that the command starts, and the members of a population without Ray."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from crowdml import datasets
from crowdml.support.search_space import Float
from sweeps.grid.grids import TRAINING, shorten
from sweeps.grid.options_file import read_options
from sweeps.tuning.objective import evaluate_cell
from sweeps.tuning.population import N_SEGMENTS, Member, PopulationError, clipped, population_space
from sweeps.tuning.search import Search
from sweeps.tuning.study import SEGMENTS
from tests.searches import of_labels, of_network

ROOT = Path(__file__).parents[3]
NETWORK = [
    "--method", "nnaqc", "--dataset", "digits", "--pattern", "uniform", "--noise-rate", "0.5", "--workers", "1",
    "--n-train", "300", "--objective", "clean_validation",
]  # fmt: skip


def run(*arguments: str, out: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "sweeps/tune_method.py",
        *NETWORK,
        *arguments,
        "--address",
        "local",
        "--out",
        str(out),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def best_of(frame: pd.DataFrame) -> pd.Series:
    """The first row of the highest value."""
    return frame.sort_values("value", ascending=False, kind="stable").iloc[0]


def trials(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out.with_name(f"{out.stem}.trials.parquet"))


def member(search: Search, **point: float) -> Member:
    made = Member.__new__(Member)
    data = datasets.load("digits", for_networks=True)
    made.setup(point, search=search, data=data, n_threads=1)
    return made


def trained(made: Member, n_steps: int) -> dict[str, object]:
    result: dict[str, object] = {}
    for _ in range(n_steps):
        result = made.step()
    return result


def test_a_member_with_constant_options_equals_a_plain_training() -> None:
    search = of_network(epochs=N_SEGMENTS)
    whole = evaluate_cell(search, search.cell, datasets.load("digits", for_networks=True), lambda value: None)
    result = trained(member(search), N_SEGMENTS)
    assert result["done"]
    assert result["value"] == whole


def test_a_member_continues_another_members_training_with_its_own_options(tmp_path: Path) -> None:
    search = of_network(epochs=2 * N_SEGMENTS, recipe=["lr", "weight_decay"])
    donor = member(search)
    first = trained(donor, 6)
    donor.save_checkpoint(str(tmp_path))
    space = population_space(search)
    heir = member(search, **clipped(space, {**search.defaults(), "recipe.lr": 0.02, "recipe.weight_decay": 1e-3}))
    heir.load_checkpoint(str(tmp_path))
    heir._apply_options(*heir._training())
    state = heir._checkpoint.read(heir._training()[0].device)
    assert state is not None
    network, noise_model = state["optimizer"]["param_groups"]
    # The schedule has divided the rate by ten after epoch 10, and the noise model has no weight decay of its own.
    assert network["lr"] == pytest.approx(0.002)
    assert (network["weight_decay"], noise_model["weight_decay"]) == (1e-3, 0.0)
    assert state["epoch"] == 12
    last = trained(heir, 4)
    assert last["done"]
    segments = last[SEGMENTS]
    assert isinstance(segments, list)
    assert isinstance(first["value"], float)
    assert [epoch for epoch, _, _ in segments] == list(range(2, 21, 2))
    assert segments[5][2] == first["value"]
    assert [point["recipe.lr"] for _, point, _ in segments] == [0.05] * 6 + [0.02] * 4


def test_a_population_changes_only_real_options_of_one_training() -> None:
    space = population_space(of_network(recipe=["lr", "batch_size", "weight_decay"]))
    assert set(space) == {"alpha", "beta", "dropout", "kappa", "recipe.lr", "recipe.weight_decay"}
    assert set(population_space(of_network("em+bootstrapping"))) == {"trust"}
    assert set(population_space(of_network("trace_reg", n_workers=3))) == {"weight", "warm_up"}
    for search, message in (
        (of_network(seeds=[0, 1]), "a population of one seed"),
        (of_labels(), "trains networks"),
        (of_network("labnet", n_workers=3), "does more than one plain training"),
        (of_network("forward"), "does more than one plain training"),
        (of_network("crowdlayer", n_workers=3), "no real-valued option to change; add --recipe"),
    ):
        with pytest.raises(PopulationError, match=message):
            population_space(search)


def test_options_are_clipped_to_their_ranges() -> None:
    space = {"a": Float(0, 1), "b": Float(1e-3, 1, log=True)}
    assert clipped(space, {"a": 1.2, "b": 0, "other": 3}) == {"a": 1.0, "b": 1e-3}


def read_best(out: Path, *, epochs: int) -> float:
    """The value of the best options in a file, computed here."""
    options = read_options(out)
    search = of_network(epochs=15, recipe=["lr", "weight_decay", "momentum", "batch_size"])
    assert search.cell.training is not None
    recipe = options.recipe("digits", shorten(TRAINING["digits"][1], epochs))
    cell = replace(
        search.cell,
        method_options=tuple(options.methods["nnaqc"].items()),
        training=replace(search.cell.training, recipe=recipe),
    )
    return evaluate_cell(search, cell, datasets.load("digits", for_networks=True), lambda value: None)


@pytest.mark.slow
def test_asha_stops_trials_early_through_tune(tmp_path: Path) -> None:
    out = tmp_path / "best.toml"
    arguments = ["--recipe", "--epochs", "8", "--trials", "12", "--scheduler", "asha"]
    done = run(*arguments, out=out)
    assert done.returncode == 0, done.stderr
    frame = trials(out)
    assert len(frame) == 12
    assert set(frame["status"]) == {"ok", "stopped early"}
    stopped, ok = frame[frame["status"] == "stopped early"], frame[frame["status"] == "ok"]
    assert (ok["n_steps"] == 8).all()
    assert (stopped["n_steps"] < 8).all()
    assert stopped["value"].notna().all()
    best = best_of(ok)
    assert read_options(out).methods["nnaqc"]["alpha"] == best["alpha"]
    # Tune's processes compute the same value as this process.
    assert read_best(out, epochs=8) == pytest.approx(best["value"])
    again = run(*arguments, out=out)
    assert again.returncode == 0
    assert "12 trials before, 0 to go" in again.stdout


@pytest.mark.slow
def test_a_population_trains_through_tune(tmp_path: Path) -> None:
    out = tmp_path / "best.toml"
    done = run("--recipe", "lr", "--epochs", "4", "--trials", "3", "--scheduler", "pbt", out=out)
    assert done.returncode == 0, done.stderr
    frame = trials(out)
    assert frame["status"].tolist() == ["ok"] * 3
    assert "by population" in done.stdout
    assert read_options(out).recipes["digits"]["lr"] == best_of(frame)["recipe.lr"]
