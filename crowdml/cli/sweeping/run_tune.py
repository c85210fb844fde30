"""The work of `crowdml tune`: search the options of a method on one crowd and write the best options to a file."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import optuna
from rich.table import Table

from crowdml import datasets
from crowdml.cli.display import Console, speak
from crowdml.cli.sweeping.search_choice import scheduler_of, search_of
from crowdml.support.search_space import Value
from sweeps.cluster import connect as ray_cluster
from sweeps.tuning.final_test import FinalAccuracy, final_test
from sweeps.tuning.objective import DataSet
from sweeps.tuning.search_inline import Scheduler, run_search_inline
from sweeps.tuning.search_progress import SearchProgress
from sweeps.tuning.search_report import trials_frame, write_best_options, write_figures, write_trials
from sweeps.tuning.study import ERROR, POINT, SharedStudy, n_begun, study_name, without_password

EXIT_OK, EXIT_NO_RESULT = 0, 3


def run(options: argparse.Namespace) -> int:
    """Run the search and return its exit code; an interrupted search keeps its trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    console = Console()
    search = search_of(options)
    scheduler = scheduler_of(options, search)
    out = Path(options.out)
    storage = options.study or str(out.with_suffix(".journal"))
    _print_space(console, search.space, search.defaults())
    kind = {"multi_objective": options.multi_objective, "population": scheduler == "pbt"}
    name = study_name(search, **kind)
    n_before = n_begun(storage, name)
    n_left = max(options.trials - n_before, 0)
    speak(console, f"study {name} in {without_password(storage)}: {n_before} trials before, {n_left} to go")
    if options.dry_run:
        return EXIT_OK
    study = SharedStudy(
        storage, search, n_trials=options.trials, sampler=options.sampler, seed=options.search_seed, **kind
    )
    data = datasets.load(search.cell.dataset, for_networks=search.cell.training is not None)
    if n_left:
        _run(options, study, data, scheduler, console)
    return _finish(options, study, data, out, without_password(storage), console)


def _run(
    options: argparse.Namespace, study: SharedStudy, data: DataSet, scheduler: Scheduler, console: Console
) -> None:
    progress = SearchProgress(console, study)
    if options.backend == "inline":
        run_search_inline(study, data, scheduler, progress)
        return
    with ray_cluster.join_or_start(options.address, data_bytes=data.nbytes) as cluster:
        gpus = options.gpus_per_trial if options.gpus_per_trial is not None else float(cluster.gpus > 0)
        if study.search.cell.training is None:
            gpus = 0.0
        if options.cpus_per_trial > cluster.cpus or gpus > cluster.gpus:
            raise ValueError(
                f"a trial needs {options.cpus_per_trial} CPUs and {gpus:g} GPUs, but the cluster has "
                f"{cluster.cpus:g} and {cluster.gpus:g}; lower --cpus-per-trial or --gpus-per-trial"
            )
        resources = {"CPU": float(options.cpus_per_trial), **({"GPU": gpus} if gpus else {})}
        if scheduler == "pbt":
            from sweeps.tuning.population import run_population

            run_population(study, data, progress, resources)
        else:
            from sweeps.tuning.search_on_ray import run_search_on_ray

            run_search_on_ray(study, data, scheduler, progress, resources)


def _finish(
    options: argparse.Namespace, study: SharedStudy, data: DataSet, out: Path, storage: str, console: Console
) -> int:
    tables = write_trials(trials_frame(study), out)
    best = study.best()
    if best is None:
        errors = [trial.user_attrs[ERROR] for trial in study.finished_trials() if ERROR in trial.user_attrs]
        print(f"no trial succeeded; see {tables[0]}; the first error was\n{errors[0]}", file=sys.stderr)
        return EXIT_NO_RESULT
    point: dict[str, Value] = best.user_attrs[POINT]
    seeds = options.test_seeds or options.seeds
    tested = {
        "test accuracy of the defaults": final_test(study, study.search.defaults(), seeds, data),
        "test accuracy of these options": final_test(study, point, seeds, data),
    }
    comments = {name: str(accuracy) for name, accuracy in tested.items()}
    write_best_options(out, study, point, best.values[0], storage=storage, tested=comments)
    figures = write_figures(study, out)
    console.print(_best_table(study, point, best.values[0], tested))
    speak(console, f"options   {out}")
    speak(console, f"trials    {', '.join(map(str, tables))}")
    speak(console, f"figures   {', '.join(map(str, figures))}")
    sweep = ["crowdml", "sweep", "--methods", study.search.cell.method, "--method-options", str(out)]
    speak(console, f"use them  {shlex.join(sweep)}")
    return EXIT_OK


def _print_space(console: Console, space: Mapping[str, object], defaults: Mapping[str, Value]) -> None:
    table = Table("option", "range", "default", box=None, pad_edge=False)
    for name, kind in space.items():
        table.add_row(name, str(kind), _value(defaults[name]))
    console.print(table)


def _best_table(
    study: SharedStudy, point: Mapping[str, Value], value: float, tested: Mapping[str, FinalAccuracy]
) -> Table:
    table = Table("", "defaults", "best", box=None, pad_edge=False)
    defaults = study.search.defaults()
    for name in study.search.space:
        table.add_row(name, _value(defaults[name]), _value(point[name]))
    of_defaults = study.value_of(defaults)
    objective = study.search.objective.replace("_", " ")
    table.add_row(objective, "-" if of_defaults is None else f"{of_defaults:.4f}", f"{value:.4f}")
    table.add_row("test accuracy", *map(str, tested.values()))
    return table


def _value(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
