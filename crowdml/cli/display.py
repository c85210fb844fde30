"""What a person sees: lines, tables, and the progress of long steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crowdml.support.live_text import LiveText, clock_time

_WIDE = 10_000


@contextmanager
def step(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show on standard error, if it is a terminal, how far the block is.

    Args:
        what: the step in a few words.

    Yields:
        A function that takes how much is done and how much there is.  Until the first call only the time is shown.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    began = time.monotonic()
    share: float | None = None

    def line() -> str:
        passed = time.monotonic() - began
        if not share:
            return f"{what}: {clock_time(passed)}"
        left = passed * (1 - share) / share
        return f"{what}: {100 * share:.0f} %, {clock_time(passed)} elapsed, {clock_time(left)} left"

    def update(done: int, total: int) -> None:
        nonlocal share
        share = done / total if total else None

    with LiveText(console, line, last_line=False):
        yield update


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    numbers: Sequence[str] = (),
    names: Sequence[str] = (),
    cut: Sequence[str] = (),
) -> Table:
    """Return a plain table.

    Args:
        heads: names of the columns.
        rows: values of the columns.
        numbers: columns that are aligned right and never broken into lines.
        names: columns that are never broken into lines.
        cut: columns that are cut off if the terminal is too narrow.
    """
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        drawn.add_column(
            head,
            justify="right" if head in numbers else "left",
            overflow="ellipsis" if head in cut else "fold",
            no_wrap=head in (*numbers, *names, *cut),
        )
    for row in rows:
        drawn.add_row(*(escape(str(value)) for value in row))
    return drawn


def show(console: Console, drawn: Table) -> None:
    """Print a table as wide as the terminal.  In a file or pipe no line is broken, so that grep and diff work."""
    place = console if console.is_terminal else Console(file=console.file, width=_WIDE)
    place.print(drawn)


def speak(console: Console, text: str) -> None:
    """Print a line of text as it is."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def written(paths: Sequence[str]) -> str:
    """Say which files were written."""
    return f"wrote {', '.join(paths)}" if paths else "nothing written; --out FILE writes the labels"
