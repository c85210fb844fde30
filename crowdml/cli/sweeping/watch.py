"""Show the live screen of a run until the run ends or you press Ctrl-C.

The command works from any terminal or machine, and does not disturb the run.

example:
  crowdml watch results

exit code: 0 the run finished, 1 it was stopped, failed or died, or no run is alive
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from crowdml.cli.display import Console, speak
from crowdml.cli.sweeping.status import progress_of, title
from crowdml.support.live_text import LiveText

if TYPE_CHECKING:
    from sweeps.watching.run_record import RunState

_LOOK_SECONDS = 2.0


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    command.add_argument("results", metavar="RESULTS", help="results folder, local or s3://... or gs://...")
    command.add_argument("--run", metavar="ID", dest="run_id", help="run to watch (default: the newest live run)")


def run(options: argparse.Namespace) -> int:
    """Show the run until it ends.  Return 0 if it finished, else 1."""
    from crowdml.cli.open_results import open_results
    from sweeps.watching.live_view import plain_line, view
    from sweeps.watching.run_record import all_runs, read_run

    console = Console()
    store = open_results(options.results)
    chosen = _choose(all_runs(store), options.run_id)
    if chosen is None:
        speak(console, "no run is alive; crowdml status shows what the folder holds")
        return 1
    now = chosen

    def line() -> str:
        snapshot = progress_of(now)
        return f"run {now.run_id}: {snapshot}" if isinstance(snapshot, str) else plain_line(snapshot)

    def screen() -> RenderableType:
        snapshot = progress_of(now)
        if isinstance(snapshot, str):
            return Text(line())
        return view(snapshot, title=title(now), width=console.width, height=console.height - 1)

    with LiveText(console, line, screen=screen) as live:
        while now.is_alive:
            live.update()
            time.sleep(_LOOK_SECONDS)
            now = read_run(store, now.run_id)
    speak(console, f"run {now.run_id}: {now.state}")
    return 0 if now.state == "finished" else 1


def _choose(runs: list[RunState], run_id: str | None) -> RunState | None:
    if run_id is None:
        live = [run for run in runs if run.is_alive]
        return live[-1] if live else None
    found = [run for run in runs if run.run_id == run_id]
    if not found:
        raise ValueError(f"no run {run_id!r}; there are {', '.join(run.run_id for run in runs) or 'none'}")
    return found[0]
