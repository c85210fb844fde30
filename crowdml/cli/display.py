"""Print lines, tables, and the progress of long steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import rich.console
from rich.table import Table
from rich.text import Text

from crowdml.support.live_text import LiveText, clock_time
from crowdml.support.printable import printable

_KEPT = "\n\t"


class Console(rich.console.Console):
    """A console that prints texts as they are: `[x]` is no markup, and `:x:` is no emoji.

    Control characters are printed as escapes.  All commands use this class.  A coloured text is a `rich.text.Text`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **settings)

    def render_str(self, text: str, **style: Any) -> Text:
        """Return a text as it is.  Rich would interpret the markup in the text."""
        return super().render_str(printable(text, keep=_KEPT), **style)


@contextmanager
def step(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of the block on standard error, if standard error is a terminal.

    Yields:
        A function that takes the finished and the total amount of work.  Before its first call, only the elapsed time
        is shown.
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
    """Return a table with the column names `heads`.

    Args:
        heads, rows: names and values of the columns.
        numbers: columns that are aligned right and never wrapped.
        names: columns that are never wrapped.
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
        drawn.add_row(*map(str, row))
    return drawn


def show(console: rich.console.Console, drawn: Table) -> None:
    """Print a table.  In a file or pipe no line is wrapped, so that grep and diff work."""
    place = console if console.is_terminal else Console(file=console.file, width=10_000)
    place.print(drawn)


def speak(console: rich.console.Console, text: str) -> None:
    """Print a line of text without markup, colours or wrapping."""
    console.print(Text(printable(text, keep=_KEPT)), soft_wrap=True)


def sizes(crowd: Any) -> str:
    """Return the numbers of labels, items and workers of a crowd, or of the result of an aggregation on Ray."""
    return f"{crowd.n_annotations:,} labels of {crowd.n_items:,} items by {crowd.n_workers:,} workers"


def written(paths: Sequence[str]) -> str:
    """Return a line that names the written files."""
    return f"wrote {', '.join(paths)}" if paths else "nothing written; --out FILE writes the labels"
