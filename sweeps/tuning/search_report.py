"""What a search found: a table of its trials, the Pareto front, figures, and the best options in a file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState, create_trial

from crowdml.experiment.cell import COLUMNS
from crowdml.support.search_space import Value
from sweeps.grid.options_file import MethodOptions, write_options
from sweeps.store.provenance import collect
from sweeps.tuning.search import parts
from sweeps.tuning.study import BY_SEED, COPY_OF, DRIVER, ERROR, POINT, TOOK, SharedStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STATUS = {TrialState.COMPLETE: "ok", TrialState.PRUNED: "stopped early", TrialState.FAIL: "failed"}
_BLUE, _ORANGE, _GREY = "#0072B2", "#E69F00", "#999999"


def trials_frame(shared: SharedStudy) -> pd.DataFrame:
    """One row a trial: number, status, value, seconds, the values by seed, the point's options, driver, error.

    `value` of a trial that was stopped early is the last one it had.  `copy_of` is the number of the trial of the same
    point that a value was taken from, and `pareto` whether no other trial is better in value and seconds both.
    """
    rows = [_row(shared, trial) for trial in shared.trials()]
    front = {trial.number for trial in pareto_front(shared)}
    frame = pd.DataFrame(rows)
    frame.insert(4, "pareto", frame["trial"].isin(front))
    return frame


def pareto_front(shared: SharedStudy) -> list[FrozenTrial]:
    """The trials that no other beats in both value and seconds, quickest first; of equal ones the first."""
    complete = [trial for trial in shared.trials() if trial.state == TrialState.COMPLETE]
    front: list[FrozenTrial] = []
    for trial in sorted(complete, key=lambda one: (_seconds(one), -one.values[0], one.number)):
        if not front or trial.values[0] > front[-1].values[0]:
            front.append(trial)
    return front


def write_tables(frame: pd.DataFrame, out: Path) -> list[Path]:
    """The table of trials beside the file of options, as CSV and Parquet."""
    csv, parquet = (out.with_name(f"{out.stem}.trials{ending}") for ending in (".csv", ".parquet"))
    out.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(csv, index=False)
    # A column of an option may hold texts and numbers, or numbers and None; Parquet wants one type a column.
    mixed = {str(name): frame[name].map(_as_text) for name in frame if frame[name].dtype == object}
    frame.assign(**mixed).to_parquet(parquet, index=False)
    return [csv, parquet]


def write_best(
    out: Path, shared: SharedStudy, point: Mapping[str, Value], value: float, *, where: str, tested: Mapping[str, str]
) -> None:
    """The best options, for `full_grid.py --method-options`, with where they come from.

    Args:
        out: the file.
        shared: the study.
        point: the best options.
        value: what they are worth by the objective.
        where: the study's storage, without a password.
        tested: line by line what the test gave.
    """
    search, cell = shared.search, shared.search.cell
    provenance = collect({})
    dirty = " and changes" if provenance.git_dirty else ""
    options, recipe = parts(point)
    comments = [
        f"options of {cell.method} on {cell.dataset}, found by sweeps/tune_method.py",
        f"study: {search.name} in {where}, {len(shared.trials())} trials",
        f"objective: {search.objective} {value:.4f}, mean of seeds {', '.join(map(str, search.seeds))}",
        *(f"{name}: {text}" for name, text in tested.items()),
        f"crowd: {_crowd(shared)}",
        f"git commit: {provenance.git_commit or 'none'}{dirty}",
    ]
    recipes = {cell.dataset: recipe} if recipe else {}
    write_options(out, MethodOptions({cell.method: options} if options else {}, recipes), comments=comments)


def write_figures(shared: SharedStudy, out: Path) -> list[Path]:
    """History, importance of the options and, with two objectives, the Pareto front; SVG and PNG beside the options.

    The importance is left out where no two trials have different values: there is nothing to tell.
    """
    made: dict[str, Figure | None] = {"history": history(shared), "importance": importance(shared)}
    if shared.several:
        made["pareto"] = pareto(shared)
    written = []
    for name, figure in made.items():
        for ending in (".svg", ".png") if figure is not None else ():
            assert figure is not None
            written.append(out.with_name(f"{out.stem}.{name}{ending}"))
            figure.savefig(written[-1], dpi=120)
    return written


def history(shared: SharedStudy) -> Figure:
    """The value of every trial and the best so far, against the trial's number."""
    frame = trials_frame(shared)
    figure, ax = _figure()
    ok, stopped = (frame[frame["status"] == status] for status in ("ok", "stopped early"))
    ax.scatter(stopped["trial"], stopped["value"], s=14, color=_GREY, label="stopped early")
    ax.scatter(ok["trial"], ok["value"], s=20, color=_BLUE, label="to the end")
    ax.step(ok["trial"], ok["value"].cummax(), where="post", color=_ORANGE, label="best so far")
    ax.set_xlabel("trial")
    ax.set_ylabel(_objective(shared))
    ax.legend(frameon=False)
    return _finished(figure, shared)


def importance(shared: SharedStudy) -> Figure | None:
    """How much of the value's variance over the trials each option explains; None with nothing to explain."""
    shares = importances(shared)
    if not shares:
        return None
    figure, ax = _figure()
    names = list(shares)[::-1]
    ax.barh(names, [shares[name] for name in names], color=_BLUE)
    ax.set_xlabel(f"share of the variance of {_objective(shared)} over {len(_with_value(shared))} trials")
    return _finished(figure, shared)


def importances(shared: SharedStudy) -> dict[str, float]:
    """Option -> share of the value's variance that it explains (fANOVA), most first; empty with nothing to explain.

    Trials that were stopped early count with the last value they had: without them the few that were not, which lie
    close together, would say more of chance than of the options.
    """
    trials = _with_value(shared)
    if len({value for _, value in trials}) < 2:
        return {}
    valued = optuna.create_study(direction="maximize")
    valued.add_trials(
        [create_trial(value=value, params=one.params, distributions=one.distributions) for one, value in trials]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # options that only some trials have are left out, and that is all
        found = optuna.importance.get_param_importances(
            valued, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
        )
    return {name: float(share) for name, share in found.items()}


def pareto(shared: SharedStudy) -> Figure:
    """Value against seconds of all trials, and the front that no trial is beyond."""
    complete = [trial for trial in shared.trials() if trial.state == TrialState.COMPLETE]
    front = pareto_front(shared)
    figure, ax = _figure()
    ax.scatter([_seconds(one) for one in complete], [one.values[0] for one in complete], s=20, color=_GREY)
    ax.step(
        [_seconds(one) for one in front], [one.values[0] for one in front],
        where="post", marker="o", color=_BLUE, label="Pareto front",
    )  # fmt: skip
    ax.set_xlabel("seconds")
    ax.set_ylabel(_objective(shared))
    ax.legend(frameon=False)
    return _finished(figure, shared)


def _row(shared: SharedStudy, trial: FrozenTrial) -> dict[str, Any]:
    reached = [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]
    if trial.state == TrialState.COMPLETE:
        value = trial.values[0]
    else:
        value = reached[-1] if trial.state == TrialState.PRUNED and reached else np.nan
    by_seed: Sequence[float] = trial.user_attrs.get(BY_SEED, ())
    return {
        "trial": trial.number,
        "status": _STATUS[trial.state],
        "value": value,
        "seconds": trial.user_attrs.get(TOOK, np.nan),
        "n_steps": len(reached),
        **{f"value_seed_{seed}": found for seed, found in zip(shared.search.seeds, by_seed, strict=False)},
        **trial.user_attrs[POINT],
        "copy_of": trial.user_attrs.get(COPY_OF),
        "driver": trial.user_attrs.get(DRIVER),
        "error": trial.user_attrs.get(ERROR),
    }


def _with_value(shared: SharedStudy) -> list[tuple[FrozenTrial, float]]:
    """The trials that have a value, and it; of those that were stopped early the last."""
    return [(trial, trial.values[0]) for trial in shared.trials() if trial.state != TrialState.FAIL and trial.values]


def _as_text(value: Any) -> str | None:
    return None if value is None or value is np.nan else str(value)


def _seconds(trial: FrozenTrial) -> float:
    return trial.user_attrs[TOOK]


def _objective(shared: SharedStudy) -> str:
    search = shared.search
    if search.cell.network is None and search.objective == "noisy_validation":
        return "log-likelihood of annotations held out"
    return search.objective.replace("_", " ")


def _crowd(shared: SharedStudy) -> str:
    cell = shared.search.cell
    shown = ("pattern", "noise_rate", "n_workers", "missing_rate", "worker_model", "assignment", "n_train", "network")
    values = {name: COLUMNS[name].value(cell) for name in shown}
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _figure() -> tuple[Figure, Any]:
    import matplotlib as mpl

    mpl.use("Agg")  # figures go to files; no window, no display
    from matplotlib import pyplot as plt

    figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    ax.grid(alpha=0.3, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    return figure, ax


def _finished(figure: Figure, shared: SharedStudy) -> Figure:
    from matplotlib import pyplot as plt

    cell = shared.search.cell
    figure.suptitle(f"{cell.method} on {cell.dataset}", fontsize=12)
    plt.close(figure)
    return figure
