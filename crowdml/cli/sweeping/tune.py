"""Search the options of a method on one crowd and write the best into a file: what `crowdml tune` does."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import optuna
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crowdml import datasets
from crowdml.cli.sweeping.search_choice import scheduler_of, search_of
from crowdml.support.search_space import Value
from sweeps.cluster import connect as ray_cluster
from sweeps.tuning.final_test import Tested, final_test
from sweeps.tuning.objective import Data
from sweeps.tuning.search_inline import Scheduler, run_inline
from sweeps.tuning.search_progress import TuningProgress
from sweeps.tuning.search_report import trials_frame, write_best, write_figures, write_tables
from sweeps.tuning.storage import without_password
from sweeps.tuning.study import ERROR, POINT, SharedStudy, n_trials_of, study_name

EXIT_OK, EXIT_NO_RESULT = 0, 3


def run(options: argparse.Namespace) -> int:
    """Run the search and return its exit code.

    Raises:
        KeyboardInterrupt: the search was interrupted; its trials so far are kept.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        return _search(options, Console())
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; the same command goes on from here") from None


def _search(options: argparse.Namespace, console: Console) -> int:
    search = search_of(options)
    scheduler = scheduler_of(options, search)
    out = Path(options.out)
    storage = options.study or str(out.with_suffix(".journal"))
    print_space(console, search.space, search.defaults())
    several, population = options.multi_objective, scheduler == "pbt"
    name, where = study_name(search, several=several, population=population), without_password(storage)
    n_before = n_trials_of(storage, name)
    left = max(options.trials - n_before, 0)
    console.print(
        f"study {escape(name)} in {escape(where)}: {n_before} trials before, {left} to go",
        highlight=False,
        soft_wrap=True,
    )
    if options.dry_run:
        return EXIT_OK
    shared = SharedStudy(
        storage,
        search,
        n_trials=options.trials,
        sampler=options.sampler,
        several=several,
        population=population,
        seed=options.search_seed,
    )
    data = datasets.load(search.cell.dataset, for_networks=search.cell.network is not None)
    if left:
        _run(options, shared, data, scheduler, console)
    return _finish(options, shared, data, out, where, console)


def _run(options: argparse.Namespace, shared: SharedStudy, data: Data, scheduler: Scheduler, console: Console) -> None:
    progress = TuningProgress(console, shared)
    if options.backend == "inline":
        run_inline(shared, data, scheduler, progress)
        return
    with ExitStack() as stack:
        cluster = stack.enter_context(ray_cluster.join(options.address))
        if cluster is None:
            cluster = stack.enter_context(ray_cluster.start_local(data_bytes=data.nbytes))
        wanted = options.gpus_per_trial if options.gpus_per_trial is not None else float(cluster.gpus > 0)
        gpus = wanted if shared.search.cell.network is not None else 0.0
        if options.cpus_per_trial > cluster.cpus or gpus > cluster.gpus:
            raise ValueError(
                f"a trial wants {options.cpus_per_trial} CPUs and {gpus:g} GPUs, but there are {cluster.cpus:g} and "
                f"{cluster.gpus:g}; lower --cpus-per-trial or --gpus-per-trial"
            )
        resources = {"CPU": float(options.cpus_per_trial), **({"GPU": gpus} if gpus else {})}
        if scheduler == "pbt":
            from sweeps.tuning.population import run_population

            run_population(shared, data, progress, resources)
        else:
            from sweeps.tuning.search_on_ray import run_on_ray

            run_on_ray(shared, data, scheduler, progress, resources)


def _finish(
    options: argparse.Namespace, shared: SharedStudy, data: Data, out: Path, where: str, console: Console
) -> int:
    frame = trials_frame(shared)
    tables = write_tables(frame, out)
    best = shared.best()
    if best is None:
        errors = [trial.user_attrs[ERROR] for trial in shared.trials() if ERROR in trial.user_attrs]
        print(f"no trial succeeded; see {tables[0]}; the first ended with\n{errors[0]}", file=sys.stderr)
        return EXIT_NO_RESULT
    point: dict[str, Value] = best.user_attrs[POINT]
    seeds = options.test_seeds or options.seeds
    tested = {
        "test of the defaults": final_test(shared, shared.search.defaults(), seeds, data),
        "test of these": final_test(shared, point, seeds, data),
    }
    write_best(out, shared, point, best.values[0], where=where, tested={name: str(t) for name, t in tested.items()})
    written = write_figures(shared, out)
    console.print(_best_table(shared, point, best.values[0], tested))
    console.print(f"options   {out}", highlight=False, soft_wrap=True)
    console.print(f"trials    {', '.join(map(str, tables))}", highlight=False, soft_wrap=True)
    console.print(f"figures   {', '.join(map(str, written))}", highlight=False, soft_wrap=True)
    again = shlex.join(["crowdml", "sweep", "--methods", shared.search.cell.method])
    console.print(f"use them  {again} --method-options {shlex.quote(str(out))}", highlight=False, soft_wrap=True)
    return EXIT_OK


def print_space(console: Console, space: Mapping[str, object], defaults: Mapping[str, Value]) -> None:
    """A line an option: its range and its default."""
    table = Table("option", "range", "default", box=None, pad_edge=False)
    for name, kind in space.items():
        table.add_row(name, escape(str(kind)), escape(_shown(defaults[name])))
    console.print(table)


def _best_table(shared: SharedStudy, point: Mapping[str, Value], value: float, tested: Mapping[str, Tested]) -> Table:
    table = Table("", "defaults", "best", box=None, pad_edge=False)
    defaults = shared.search.defaults()
    for name in shared.search.space:
        table.add_row(escape(name), _shown(defaults[name]), _shown(point[name]))
    first = shared.value_of(defaults)
    table.add_row(shared.search.objective.replace("_", " "), "-" if first is None else f"{first:.4f}", f"{value:.4f}")
    table.add_row("test accuracy", *map(str, tested.values()))
    return table


def _shown(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
