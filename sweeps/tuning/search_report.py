"""The report of a search: the table of trials, the Pareto front, figures, and the file of the best options."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState, create_trial

from crowdml.experiment.cell import COLUMNS, Cell
from crowdml.experiment.columns import columns_of
from crowdml.support.search_space import Value
from crowdml.support.whole_file import whole_file
from sweeps.grid.options_file import MethodOptions, write_options
from sweeps.store.provenance import collect
from sweeps.tuning.search import split_point
from sweeps.tuning.study import BY_SEED, COPY_OF, DRIVER, ERROR, POINT, SECONDS, SharedStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STATUS = {TrialState.COMPLETE: "ok", TrialState.PRUNED: "stopped early", TrialState.FAIL: "failed"}
_BLUE, _ORANGE, _GREY = "#0072B2", "#E69F00", "#999999"


def trials_frame(study: SharedStudy) -> pd.DataFrame:
    """Return one row per trial: number, status, value, seconds, values by seed, the point's options, driver, error.

    The `value` of a trial that was stopped early is its last value.  `copy_of` is the number of the trial of the same
    point whose result was copied.  `pareto` is True if no other trial is better in both value and seconds.
    """
    frame = pd.DataFrame([_row(study, trial) for trial in study.finished_trials()])
    frame.insert(4, "pareto", frame["trial"].isin({trial.number for trial in pareto_front(study)}))
    return frame


def pareto_front(study: SharedStudy) -> list[FrozenTrial]:
    """Return the trials that no other trial beats in both value and seconds, fastest first.

    Of several trials with equal value and seconds, only the first is on the front.
    """
    complete = [trial for trial in study.finished_trials() if trial.state == TrialState.COMPLETE]
    front: list[FrozenTrial] = []
    for trial in sorted(complete, key=lambda one: (_seconds(one), -one.values[0], one.number)):
        if not front or trial.values[0] > front[-1].values[0]:
            front.append(trial)
    return front


def write_trials(frame: pd.DataFrame, out: Path) -> list[Path]:
    """Write the table of trials as CSV and Parquet next to the file of options; return the two paths."""
    csv, parquet = (out.with_name(f"{out.stem}.trials{ending}") for ending in (".csv", ".parquet"))
    out.parent.mkdir(parents=True, exist_ok=True)
    # An option's column may hold texts and numbers, or numbers and None, but Parquet needs one type per column.
    as_text = {str(name): frame[name].map(_as_text) for name in frame if frame[name].dtype == object}
    with whole_file(csv) as temporary_csv, whole_file(parquet) as temporary_parquet:
        frame.to_csv(temporary_csv, index=False)
        frame.assign(**as_text).to_parquet(temporary_parquet, index=False)
    return [csv, parquet]


def write_best_options(
    out: Path, study: SharedStudy, point: Mapping[str, Value], value: float, *, storage: str, tested: Mapping[str, str]
) -> None:
    """Write the best point and its value to a file for `crowdml sweep --method-options`, with its origin as comments.

    Args:
        study, point, value: the study, its best point, and the value of the point.
        storage: the study's storage, without a password.
        tested: name -> test accuracy, one comment line each.
    """
    search, cell = study.search, study.search.cell
    provenance = collect({})
    dirty = " and changes" if provenance.git_dirty else ""
    options, recipe = split_point(point)
    comments = [
        f"options of {cell.method} on {cell.dataset}, found by sweeps/tune_method.py",
        f"study: {search.name} in {storage}, {len(study.finished_trials())} trials",
        f"objective: {search.objective} {value:.4f}, mean of seeds {', '.join(map(str, search.seeds))}",
        *(f"{name}: {text}" for name, text in tested.items()),
        f"crowd: {_crowd(cell)}",
        f"git commit: {provenance.git_commit or 'none'}{dirty}",
    ]
    recipes = {cell.dataset: recipe} if recipe else {}
    write_options(out, MethodOptions({cell.method: options} if options else {}, recipes), comments=comments)


def write_figures(study: SharedStudy, out: Path) -> list[Path]:
    """Write the figures as SVG and PNG next to the file of options; return their paths.

    The figures are the history, the importance of the options (unless all trials have one value), and, with two
    objectives, the Pareto front.
    """
    made: dict[str, Figure | None] = {"history": history(study), "importance": importance(study)}
    if study.multi_objective:
        made["pareto"] = pareto(study)
    written = []
    for name, figure in made.items():
        for form in ("svg", "png"):
            if figure is not None:
                written.append(out.with_name(f"{out.stem}.{name}.{form}"))
                # Draw in memory, because PIL hides the error of a full disk behind errors of its own.
                drawn = BytesIO()
                figure.savefig(drawn, format=form, dpi=120)
                with whole_file(written[-1]) as temporary:
                    temporary.write_bytes(drawn.getvalue())
    return written


def history(study: SharedStudy) -> Figure:
    """Plot the value of every trial and the best value so far against the trial's number."""
    frame = trials_frame(study)
    figure, ax = _figure(study)
    ok, stopped = (frame[frame["status"] == status] for status in ("ok", "stopped early"))
    ax.scatter(stopped["trial"], stopped["value"], s=14, color=_GREY, label="stopped early")
    ax.scatter(ok["trial"], ok["value"], s=20, color=_BLUE, label="complete")
    ax.step(ok["trial"], ok["value"].cummax(), where="post", color=_ORANGE, label="best so far")
    ax.set_xlabel("trial")
    ax.set_ylabel(_objective(study))
    ax.legend(frameon=False)
    return figure


def importance(study: SharedStudy) -> Figure | None:
    """Plot each option's share of the variance of the value; None if all trials have one value."""
    shares = importances(study)
    if not shares:
        return None
    figure, ax = _figure(study)
    names = list(shares)[::-1]
    ax.barh(names, [shares[name] for name in names], color=_BLUE)
    ax.set_xlabel(f"share of the variance of {_objective(study)} over {len(_with_value(study))} trials")
    return figure


def importances(study: SharedStudy) -> dict[str, float]:
    """Return option -> share of the variance of the value that the option explains (fANOVA), largest first.

    The result is empty if all trials have one value.  Trials that were stopped early count with their last value:
    complete trials alone are few and have similar values, so that chance would decide the shares.
    """
    trials = _with_value(study)
    if len({value for _, value in trials}) < 2:
        return {}
    valued = optuna.create_study(direction="maximize")
    valued.add_trials(
        [create_trial(value=value, params=one.params, distributions=one.distributions) for one, value in trials]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # fANOVA leaves out options that only some trials have
        found = optuna.importance.get_param_importances(
            valued, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
        )
    return {name: float(share) for name, share in found.items()}


def pareto(study: SharedStudy) -> Figure:
    """Plot the value of all trials against their seconds, and the Pareto front."""
    complete = [trial for trial in study.finished_trials() if trial.state == TrialState.COMPLETE]
    front = pareto_front(study)
    figure, ax = _figure(study)
    ax.scatter([_seconds(one) for one in complete], [one.values[0] for one in complete], s=20, color=_GREY)
    ax.step(
        [_seconds(one) for one in front], [one.values[0] for one in front],
        where="post", marker="o", color=_BLUE, label="Pareto front",
    )  # fmt: skip
    ax.set_xlabel("seconds")
    ax.set_ylabel(_objective(study))
    ax.legend(frameon=False)
    return figure


def _row(study: SharedStudy, trial: FrozenTrial) -> dict[str, Any]:
    by_step = [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]
    if trial.state == TrialState.COMPLETE:
        value = trial.values[0]
    else:
        value = by_step[-1] if trial.state == TrialState.PRUNED and by_step else np.nan
    by_seed: Sequence[float] = trial.user_attrs.get(BY_SEED, ())
    return {
        "trial": trial.number,
        "status": _STATUS[trial.state],
        "value": value,
        "seconds": trial.user_attrs.get(SECONDS, np.nan),
        "n_steps": len(by_step),
        **{f"value_seed_{seed}": of_seed for seed, of_seed in zip(study.search.seeds, by_seed, strict=False)},
        **trial.user_attrs[POINT],
        "copy_of": trial.user_attrs.get(COPY_OF),
        "driver": trial.user_attrs.get(DRIVER),
        "error": trial.user_attrs.get(ERROR),
    }


def _with_value(study: SharedStudy) -> list[tuple[FrozenTrial, float]]:
    """Return the trials that have a value, each with its value; the last value of trials that were stopped early."""
    trials = study.finished_trials()
    return [(trial, trial.values[0]) for trial in trials if trial.state != TrialState.FAIL and trial.values]


def _as_text(value: Any) -> str | None:
    return None if value is None or value is np.nan else str(value)


def _seconds(trial: FrozenTrial) -> float:
    return trial.user_attrs[SECONDS]


def _objective(study: SharedStudy) -> str:
    search = study.search
    if search.cell.training is None and search.objective == "noisy_validation":
        return "log-likelihood of held-out annotations"
    return search.objective.replace("_", " ")


def _crowd(cell: Cell) -> str:
    """Return the columns that describe a cell's crowd and network, except columns that have their default value."""
    shown = [name for name, column in COLUMNS.items() if column.part == "crowd"] + ["n_train", "network"]
    row = columns_of(cell)
    return ", ".join(f"{name} {row[name]}" for name in shown if not COLUMNS[name].is_default(COLUMNS[name].value(cell)))


def _figure(study: SharedStudy) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    cell = study.search.cell
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    figure.suptitle(f"{cell.method} on {cell.dataset}", fontsize=12)
    ax = figure.subplots()
    ax.grid(alpha=0.3, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    return figure, ax
