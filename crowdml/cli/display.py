"""What a person sees: progress of long steps, and tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from crowdml.files import Progress

_WIDE = 10_000


@contextmanager
def step(what: str) -> Iterator[Progress]:
    """A bar on standard error while the block runs; it takes how much is done and how much there is.

    Without being told it shows the time passed only.  Nothing is shown where nobody looks.
    """
    console = Console(stderr=True)
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), *times)
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(escape(what), total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    numbers: Sequence[str] = (),
    names: Sequence[str] = (),
    cut: Sequence[str] = (),
) -> Table:
    """A plain table.

    Args:
        heads: names of the columns.
        rows: their values.
        numbers: columns that are flush right and not broken.
        names: columns that are not broken.
        cut: columns that are cut off where there is no room.
    """
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        whole = head in numbers or head in names or head in cut
        drawn.add_column(
            head,
            justify="right" if head in numbers else "left",
            overflow="ellipsis" if head in cut else "fold",
            no_wrap=whole,
        )
    for row in rows:
        drawn.add_row(*(escape(str(value)) for value in row))
    return drawn


def show(console: Console, drawn: Table) -> None:
    """Print a table as wide as the terminal, and as wide as it likes to a file or pipe, for grep and diff."""
    place = console if console.is_terminal else Console(file=console.file, width=_WIDE)
    place.print(drawn)


def speak(console: Console, text: str) -> None:
    """A line of text as it is, not broken."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def written(paths: Sequence[str]) -> str:
    """What was written where, in a few words."""
    return f"wrote {', '.join(paths)}" if paths else "nothing written; --out writes the labels"
