"""Show the live and past runs of a results folder.

The command works from any terminal or machine.  It shows the progress by axis, failures, the best methods, and the
expected end of a live run.  Without a live run, it shows what the folder holds.

examples:
  crowdml status results
  crowdml status s3://bucket/crowdml --json
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from crowdml.cli.display import Console, speak
from crowdml.support.live_text import clock_time

if TYPE_CHECKING:
    from sweeps.store.result_store import ResultStore
    from sweeps.watching.run_record import RunState
    from sweeps.watching.snapshot import Snapshot

_MOST_RUNS = 10


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    command.add_argument("results", metavar="RESULTS", help="results folder, local or s3://... or gs://...")
    command.add_argument("--json", action="store_true", help="print JSON, for programs")


def run(options: argparse.Namespace) -> None:
    """Print the runs of the folder and their progress."""
    from crowdml.cli.open_results import open_results
    from sweeps.watching.run_record import all_runs

    store = open_results(options.results)
    (_print_json if options.json else _print)(Console(), store, all_runs(store))


def _print_json(console: Console, store: ResultStore, runs: list[RunState]) -> None:
    from sweeps.watching.folder_snapshot import snapshot_of_rows

    content: dict[str, Any] = {"results": store.public_location, "runs": [asdict(run) for run in runs]}
    if not any(run.is_alive for run in runs):
        content["folder"] = snapshot_of_rows(store.read_cells()).to_dict()
    print(json.dumps(content, indent=2), file=console.file)


def _print(console: Console, store: ResultStore, runs: list[RunState]) -> None:
    from sweeps.watching.folder_snapshot import snapshot_of_rows
    from sweeps.watching.live_view import body, view

    if runs:
        console.print(_table(runs[-_MOST_RUNS:]))
        if len(runs) > _MOST_RUNS:
            speak(console, f"and {len(runs) - _MOST_RUNS} more runs before")
    live = [run for run in runs if run.is_alive]
    for run in live:
        console.print()
        snapshot = progress_of(run)
        if isinstance(snapshot, str):
            speak(console, f"{run.run_id}: {snapshot}")
        else:
            console.print(view(snapshot, title=title(run), width=console.width, height=None))
    if not live:
        snapshot = snapshot_of_rows(store.read_cells())
        counts = f"{snapshot.n_cells} cells: {snapshot.n_done} ok, {snapshot.n_failed_before} failed"
        speak(console, f"no run is alive; the folder holds {counts}\n")
        console.print(body(snapshot, width=console.width, height=None))


def progress_of(run: RunState) -> Snapshot | str:
    """Return the last snapshot of a run, or a text that says why it is missing."""
    try:
        return run.last_snapshot() or "no cell has ended yet"
    except ValueError:
        return "of another version"


def title(run: RunState) -> str:
    """Describe a run in a few words."""
    return f"{run.run_id} · process {run.pid} on {run.host} · {run.command}"


def _table(runs: list[RunState]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold magenta")
    for column in ("run", "state", "host", "started (UTC)", "cells", "failed", "time", "ETA"):
        table.add_column(column, no_wrap=column != "host")
    styles = {"running": "green", "died": "bold red", "failed": "red"}
    for run in runs:
        started = run.started_at[5:16].replace("T", " ")
        cells = [Text(run.run_id), Text(run.state, style=styles.get(run.state, "")), Text(run.host), Text(started)]
        snapshot = progress_of(run)
        if isinstance(snapshot, str):
            cells.append(Text(snapshot))
        else:
            eta = clock_time(snapshot.eta_seconds) if run.is_alive and snapshot.eta_seconds is not None else ""
            numbers = f"{snapshot.n_done}/{snapshot.n_cells}", str(snapshot.n_failed), clock_time(snapshot.elapsed), eta
            cells += map(Text, numbers)
        table.add_row(*cells)
    return table
