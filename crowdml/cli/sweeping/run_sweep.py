"""The work of `crowdml sweep`: run a grid of cells on Ray, write Parquet, print the tables."""

from __future__ import annotations

import argparse
import math
import shlex
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pandas as pd
from rich.text import Text

from crowdml import datasets
from crowdml.cli.display import Console, speak
from crowdml.cli.sweeping.grid_choice import choose_cells, write_grid
from crowdml.experiment.cell import Cell
from crowdml.support.processors import usable_processors
from sweeps.cluster import connect as ray_cluster
from sweeps.estimates.costs import learn_costs
from sweeps.estimates.dry_run import print_forecast
from sweeps.estimates.forecast import Prices, forecast
from sweeps.estimates.gpu_shares import measure, place
from sweeps.estimates.placement import count_slots
from sweeps.estimates.probe import networks_of
from sweeps.grid.selection import order
from sweeps.grid.todo import Plan, make_plan
from sweeps.running.gained_cells import look_before
from sweeps.running.runner import Run, run_inline, run_on_ray
from sweeps.store import provenance
from sweeps.store.result_store import ResultsError, ResultStore
from sweeps.watching.progress import Progress, Sink
from sweeps.watching.run_record import announce, live_runs
from sweeps.watching.snapshot import Snapshot
from sweeps.watching.tally import Tally

EXIT_OK, EXIT_FAILED_CELLS = 0, 3


def new_run_id() -> str:
    """Return a unique id of a run: the time in UTC and four random hexadecimal digits."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"


def run(options: argparse.Namespace) -> int:
    """Run the sweep and return its exit code; the results of an interrupted run stay written."""
    console, run_id = Console(), new_run_id()
    with ExitStack() as stack:
        cluster = None
        if options.backend == "ray":
            cluster = stack.enter_context(ray_cluster.join(options.address))
        gpus = cluster.gpus if cluster else ray_cluster.local_gpus()
        cpus = cluster.cpus if cluster else usable_processors()
        where = "this Ray cluster" if cluster else "this machine"
        if options.write_grid is not None:
            write_grid(options.write_grid, options, gpus, where, console)
            return EXIT_OK
        cells, priority = choose_cells(options, gpus, where, console)
        store = ResultStore(options.results, damaged="skip", tell=partial(speak, console))
        before = look_before(store, again=options.retry_failed or options.recompute)
        known = store.read_cells()
        _warn_of_damage(store, console)
        plan = make_plan(cells, known, "failed" if options.retry_failed else "all" if options.recompute else "missing")
        found = gpus
        if options.dry_run and (options.gpus_per_trial or 0) > found:
            gpus = math.ceil(options.gpus_per_trial)
            speak(console, f"{where} has {found:g} GPUs; the estimate assumes {gpus}, as --gpus-per-trial needs")
        costs = learn_costs(known, gpu=gpus > 0)
        # A GPU that is not here cannot be probed.
        probed = plan.todo if gpus == found else []
        measured = measure(options, probed, known, costs, found, console, on_cluster=cluster is not None)
        costs = replace(costs, probed=measured.speeds)
        placement = place(options, networks_of(plan.cells), gpus, measured, console)
        n_slots = 1 if options.backend == "inline" else count_slots(plan.cells, placement, cpus, gpus)
        if options.dry_run:
            status = dict(zip(known["cell_id"], known["status"], strict=True))
            prices = Prices(gpu=options.price_per_gpu_hour, cpu=options.price_per_cpu_hour)
            expected = forecast(plan.cells, plan.todo, status, costs, placement, n_slots=n_slots, prices=prices)
            print_forecast(console, expected)
            return EXIT_OK
        if not plan.todo:
            speak(console, f"all {len(plan.cells)} cells are done; nothing to compute")
            return _finish(plan, store, options, console, known)
        store.create()
        data = _load(plan.todo)
        command = f"{options.program} {shlex.join(options.words)}".strip()
        of_run = provenance.collect(
            {name: datasets.fingerprint(item) for name, item in data.items()}, command=command, run_id=run_id
        )
        speak(console, f"{len(plan.cells)} cells, {plan.n_ok} done before, {len(plan.todo)} to compute")
        if options.backend == "ray":
            if cluster is None:
                size = sum(item.nbytes for item in data.values())
                cluster = stack.enter_context(ray_cluster.start_local(data_bytes=size))
            speak(console, _where(cluster))
        record = stack.enter_context(announce(store, run_id, command, git_commit=of_run.git_commit))
        _tell_of_other_runs(store, run_id, console)
        tally = Tally(plan.cells, known, plan.todo, costs.seconds, n_slots)
        sinks = [record.update, *_sinks(options, store, run_id, cluster)]
        progress = stack.enter_context(Progress(console, tally, sinks, run_id))
        run = Run(
            cells=plan.todo, ranks=order(plan.todo, priority), data=data, store=store, before=before,
            provenance=of_run, seconds=costs.seconds, progress=progress,
        )  # fmt: skip
        if options.backend == "inline":
            run_inline(run)
        else:
            run_on_ray(run, placement, n_slots=n_slots)
    _print_share(progress.snapshot(), console)
    return _finish(plan, store, options, console)


def _tell_of_other_runs(store: ResultStore, run_id: str, console: Console) -> None:
    try:
        others = [other for other in live_runs(store) if other.run_id != run_id]
    except ResultsError as error:
        speak(console, str(error))
        return
    for other in others:
        who = f"run {other.run_id} (process {other.pid} on {other.host})"
        speak(console, f"{who} is at work on this folder too; this run skips the cells that it finishes")


def _print_share(snapshot: Snapshot, console: Console) -> None:
    """Print the share of the processes' time that was spent in cells, and the other time per cell."""
    share, seconds = snapshot.share_in_cells, snapshot.overhead_seconds_a_cell
    if share is not None and seconds is not None:
        speak(console, f"{100 * share:.1f} % of the time in cells, {1000 * seconds:.2f} ms per cell outside")


def _load(cells: Sequence[Cell]) -> dict[str, datasets.ImageData | datasets.CrowdData]:
    """Load the data sets of the cells, with items if a network is trained on them."""
    trained = {cell.dataset for cell in cells if cell.network is not None}
    return {name: datasets.load(name, for_networks=name in trained) for name in dict.fromkeys(c.dataset for c in cells)}


def _warn_of_damage(store: ResultStore, console: Console) -> None:
    for part in store.damaged_parts:
        console.print(Text.assemble(("damaged", "yellow"), f" {part}"), soft_wrap=True)
    if store.damaged_parts:
        repair = f"crowdml results verify {shlex.quote(store.location)} --repair"
        speak(console, f"the cells in damaged files are computed again; {repair} moves the files aside")


def _sinks(
    options: argparse.Namespace, store: ResultStore, run_id: str, cluster: ray_cluster.Cluster | None
) -> list[Sink]:
    """Return the further outputs of the numbers of the run: Ray's metrics and TensorBoard."""
    sinks: list[Sink] = []
    if cluster is not None:
        from sweeps.watching.metrics import RayMetrics

        sinks.append(RayMetrics(run_id))
    folder = options.tensorboard or (f"{store.absolute_location}/tensorboard" if store.is_local else None)
    if folder is not None:
        from sweeps.watching.scalars import TensorBoardScalars

        sinks.append(TensorBoardScalars(f"{folder}/{run_id}"))
    return sinks


def _where(cluster: ray_cluster.Cluster) -> str:
    nodes = "a new Ray cluster on this machine" if cluster.own else f"the Ray cluster, {cluster.n_nodes} nodes"
    dashboard = f"; dashboard {cluster.dashboard}" if cluster.dashboard else ""
    return f"running on {nodes}: {cluster.cpus:g} CPUs, {cluster.gpus:g} GPUs{dashboard}"


def _finish(
    plan: Plan, store: ResultStore, options: argparse.Namespace, console: Console, unchanged: pd.DataFrame | None = None
) -> int:
    """Print the tables and return the exit code.  Write the report unless it exists and the results are unchanged."""
    from analysis.load import with_names
    from analysis.report import find_report, summary, write_report

    wanted = {cell.id for cell in plan.cells}
    every = store.read_cells() if unchanged is None else unchanged
    frame = every[every["cell_id"].isin(wanted)]
    n_failed = int((frame["status"] == "failed").sum())
    n_missing = len(wanted) - len(frame)
    console.print(summary(frame))
    report = None if unchanged is None else find_report(store.location)
    if report is None:
        report = write_report(store, cells=with_names(every)).html
    speak(console, f"results   {store.public_location}  (Parquet: cells, curves, workers)")
    speak(console, f"report    {report}  (figures beside it)")
    speak(console, f"tables    crowdml analyze {shlex.quote(store.location)}")
    if n_missing:
        speak(console, f"{n_missing} cells have no result yet; the same command computes them")
    if n_failed:
        words = [*(word for word in options.words if word != "--retry-failed"), "--retry-failed"]
        again = f"{options.program} {shlex.join(words)}"
        failures = (f"{n_failed} of {len(plan.cells)} cells failed", "red")
        console.print(Text.assemble(failures, f"; retry only those: {again}"), soft_wrap=True)
    return EXIT_FAILED_CELLS if n_failed or n_missing else EXIT_OK
