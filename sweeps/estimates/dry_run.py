"""Print the forecast of a run."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from sweeps.estimates.forecast import HOUR, Forecast, Work


def print_forecast(console: Console, forecast: Forecast) -> None:
    """Print a table of the work per data set, network and method, and a summary of all work.

    In a terminal the table fits the width.  Elsewhere the table is plain text of any width.
    """
    table = Table(box=None, header_style="bold")
    for name in ("data set", "network", "method"):
        table.add_column(name)
    for name in ("cells", "done", "failed", "to compute", "hours", "GPU hours"):
        table.add_column(name, justify="right")
    table.add_column("estimates")
    for (dataset, network, method), work in forecast.groups.items():
        table.add_row(dataset, network or "-", method, *_figures(work), style=None if work.n_todo else "dim")
    table.add_row("all", "", "", *_figures(forecast.total), style="bold")
    if console.is_terminal:
        console.print(table)
    else:
        width = console.measure(table, options=console.options.update(width=10_000)).maximum
        Console(file=console.file, width=width).print(table)
    for line in _summary(forecast):
        console.print(line, highlight=False, soft_wrap=True)


def _figures(work: Work) -> tuple[str, ...]:
    hours = f"{work.seconds / HOUR:.2f}" if work.n_todo else "-"
    gpu_hours = f"{work.gpu_seconds / HOUR:.2f}" if work.gpu_seconds else "-"
    counts = (work.n_cells, work.n_done, work.n_failed, work.n_todo)
    return (*map(str, counts), hours, gpu_hours, _sources(work))


def _sources(work: Work) -> str:
    return ", ".join(f"{count} {source}" for source, count in work.sources.most_common()) or "-"


def _money(amount: float) -> str:
    return f"{amount:.2f}" if amount >= 1 else f"{amount:.2g}"


def _summary(forecast: Forecast) -> list[str]:
    total = forecast.total
    gpu = f", {total.gpu_seconds / HOUR:.2f} GPU hours" if total.gpu_seconds else ""
    lines = [
        f"{total.n_cells} cells: {total.n_done} done, {total.n_failed} failed before, {total.n_todo} to compute; "
        f"about {duration(total.seconds)} of work{gpu}, {duration(forecast.wall_seconds)} with "
        f"{forecast.n_slots} trials at a time"
    ]
    if forecast.money is not None:
        lines.append(f"about {_money(forecast.money)} at the given prices, without the time lost between cells")
    if total.n_todo:
        lines.append(f"estimates: {_sources(total)}")
    if total.sources["constants"]:
        lines.append(
            "constants come from another machine and may be several times too high or too low; timings of similar "
            "cells in the results replace them"
        )
    return lines


def duration(seconds: float) -> str:
    """Return a duration in seconds, minutes, hours or days, with one decimal."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
