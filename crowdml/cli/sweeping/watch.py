"""`watch`: the live screen of a run, from another terminal or machine."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console

from crowdml.cli.sweeping.status import title

if TYPE_CHECKING:
    from sweeps.watching.run_record import RunState

_LOOK_SECONDS = 2.0


def add_parser(commands: Any) -> None:
    """Add the command's own parser."""
    parser = commands.add_parser(
        "watch",
        help="the live screen of a run, until it ends",
        description="Show the live screen of a run, from any terminal or machine, until it ends or Ctrl-C; the run "
        "itself does not notice. Exit code: 0 the run finished, 1 it was stopped, failed or died, or there is none.",
    )
    parser.add_argument("results", metavar="RESULTS", help="results folder, local or s3://... or gs://...")
    parser.add_argument("--run", metavar="ID", dest="run_id", help="which run (default: the newest that is alive)")


def run(options: argparse.Namespace, console: Console) -> int:
    """Watch until it ends."""
    from rich.live import Live

    from crowdml.cli.results_folder.folders import existing
    from sweeps.watching.run_record import all_runs, read_run

    store = existing(options.results)
    now = _choose(all_runs(store), options.run_id)
    if now is None:
        console.print("no run is alive; `python -m sweeps status` shows what the folder holds", highlight=False)
        return 1
    lines = _Lines(console)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while now.is_alive:
            if console.is_terminal:
                live.update(_screen(now, console), refresh=True)
            else:
                lines.print_when_due(now)
            time.sleep(_LOOK_SECONDS)
            now = read_run(store, now.run_id)
    lines.print(now)
    console.print(f"run {now.run_id}: {now.state}", highlight=False)
    return 0 if now.state == "finished" else 1


def _screen(run: RunState, console: Console) -> Any:
    from sweeps.watching.live_view import view

    snapshot = run.last_snapshot()
    if snapshot is None:
        return f"{run.run_id} has just begun"
    return view(snapshot, title=title(run), width=console.width, height=console.height - 1)


class _Lines:
    """Plain lines, where the output is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._printed = -float("inf")

    def print_when_due(self, run: RunState) -> None:
        from crowdml.support.live_text import PLAIN_LINE_SECONDS

        if time.monotonic() - self._printed >= PLAIN_LINE_SECONDS:
            self.print(run)

    def print(self, run: RunState) -> None:
        from sweeps.watching.live_view import plain_line

        snapshot = run.last_snapshot()
        if snapshot is not None:
            self._printed = time.monotonic()
            self._console.print(plain_line(snapshot), highlight=False, soft_wrap=True)


def _choose(runs: list[RunState], run_id: str | None) -> RunState | None:
    if run_id is None:
        live = [run for run in runs if run.is_alive]
        return live[-1] if live else None
    found = [run for run in runs if run.run_id == run_id]
    if not found:
        raise ValueError(f"no run {run_id!r}; there are {', '.join(run.run_id for run in runs) or 'none'}")
    return found[0]
