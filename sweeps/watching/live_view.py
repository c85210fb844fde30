"""Draw a run on one screen: progress by axis, the best methods, and the last failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from crowdml.support.live_text import clock_time
from sweeps.watching.snapshot import Count, LastError, Snapshot

WIDE = 120
"""Screens of at least this width show axes and best methods side by side."""

_BAR_WIDTH, _VALUE_WIDTH, _PANEL_WIDTH = 7, 14, 40
_BEST_COLUMNS = 68
_ENDLESS = 10**6


def view(snapshot: Snapshot, *, title: str = "", width: int = 80, height: int | None = 24) -> RenderableType:
    """Return the screen of a run, with `width` columns and `height` lines.

    The screen says how many entries do not fit.  If the height is None, it shows all entries.
    """
    head = [*_head(snapshot, title, width), Text()]
    return Group(*head, body(snapshot, width=width, height=None if height is None else height - len(head)))


def body(snapshot: Snapshot, *, width: int = 80, height: int | None = 20) -> RenderableType:
    """Return the screen without its head: axes, best methods and failures."""
    errors = _errors(snapshot.last_errors, most=3 if height is None or height >= 16 else 1)
    left = _ENDLESS if height is None else max(height - len(errors), 4)
    n_columns = _columns(snapshot, width - _BEST_COLUMNS if width >= WIDE else width)
    if width >= WIDE:
        sides = Table.grid(padding=(0, 3))
        sides.add_column(width=width - _BEST_COLUMNS)
        sides.add_row(_axes(snapshot, n_columns, left), _best(snapshot, left))
        return Group(sides, *errors)
    wanted = [sum(_axis_lines(snapshot, n_columns)) or 1, 1 + max(snapshot.n_panels, 1)]
    for_axes, for_best = _share(wanted, left, least=2)
    return Group(_axes(snapshot, n_columns, for_axes), _best(snapshot, for_best), *errors)


def plain_line(snapshot: Snapshot) -> str:
    """Return the state of a run in one line of text."""
    parts = [
        f"{snapshot.n_done}/{snapshot.n_cells} cells",
        f"{snapshot.running} running",
        f"{snapshot.n_failed} failed",
        f"{clock_time(snapshot.elapsed)} elapsed",
    ]
    if snapshot.eta_seconds is not None:
        parts.append(f"ETA {clock_time(snapshot.eta_seconds)}")
    return " · ".join(parts)


def _head(snapshot: Snapshot, title: str, width: int) -> list[RenderableType]:
    done = f"{snapshot.n_done}/{snapshot.n_cells} cells"
    eta = "nothing left" if snapshot.eta_seconds is None else f"ETA {clock_time(snapshot.eta_seconds)}"
    texts = Text.assemble(
        (done, "bold"), f"  {100 * snapshot.n_done / max(snapshot.n_cells, 1):.1f} %  ", (eta, "bold cyan"),
        f"  {clock_time(snapshot.elapsed)} elapsed", no_wrap=True,
    )  # fmt: skip
    bar = Table.grid(padding=(0, 1))
    bar.add_row(_bar(snapshot.n_done, snapshot.n_cells, max(10, width - texts.cell_len - 2)), texts)
    return [_line(title, "dim"), bar, _machines(snapshot)]


def _machines(snapshot: Snapshot) -> Text:
    trials = f"{snapshot.running} running" + (f", {snapshot.pending} pending" if snapshot.pending else "")
    failed = Text(f"{snapshot.n_failed} failed", style="bold red" if snapshot.n_failed else "")
    parts = [Text(f"{snapshot.cells_per_minute:.0f} cells/min"), failed, Text(trials)]
    if snapshot.cpus:
        parts.append(Text(f"CPU {snapshot.cpus_used:g}/{snapshot.cpus:g}"))
    if snapshot.gpus:
        parts.append(Text(f"GPU {snapshot.gpus_used:g}/{snapshot.gpus:g}"))
    if snapshot.share_in_cells is not None:
        parts.append(Text(f"{100 * snapshot.share_in_cells:.0f} % in cells"))
    return _cut(Text(" · ").join(parts))


def _axes(snapshot: Snapshot, n_columns: int, n_lines: int) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    axes = list(snapshot.by_axis.items())
    wanted = _axis_lines(snapshot, n_columns)
    shares = _share(wanted, n_lines if len(axes) <= n_lines else n_lines - 1, least=1)
    for (axis, values), share in zip(axes, shares, strict=True):
        cells = _values(values, share * n_columns) if share else []
        for at in range(0, len(cells), n_columns):
            name = _line("" if at else axis, "bold magenta")
            table.add_row(name, *(part for cell in cells[at : at + n_columns] for part in cell))
    if hidden := shares.count(0):
        table.add_row(_line(_more(hidden), "dim"))
    return table


def _columns(snapshot: Snapshot, width: int) -> int:
    """Return how many values of an axis fit side by side."""
    values = [(value, count) for values in snapshot.by_axis.values() for value, count in values.items()]
    if not values:
        return 1
    name = min(max(len(_more(len(values))), *(len(value) for value, _ in values)), _VALUE_WIDTH)
    counts = max(len(_counts(count)) + len(_minus(count)) for _, count in values)
    return max(1, (width - max(map(len, snapshot.by_axis)) - 1) // (name + _BAR_WIDTH + counts + 4))  # 4 gaps


def _axis_lines(snapshot: Snapshot, n_columns: int) -> list[int]:
    return [-(-len(values) // n_columns) for values in snapshot.by_axis.values()]


def _values(values: Mapping[str, Count], room: int) -> list[tuple[RenderableType, ...]]:
    """Return at most `room` entries: the name, the bar and the counts of each value."""
    rows = list(values.items())
    hidden = 0
    if len(rows) > room:
        rows.sort(key=lambda row: _stage(row[1]))
        rows, hidden = rows[: room - 1], len(rows) - (room - 1)
    cells: list[tuple[RenderableType, ...]] = [
        (
            _line(value, max_width=_VALUE_WIDTH),
            _bar(count.done, count.total, _BAR_WIDTH),
            Text(_counts(count), justify="right", no_wrap=True),
            Text(_minus(count), style="bold red", no_wrap=True),
        )
        for value, count in rows
    ]
    return [*cells, (_line(_more(hidden), "dim"), "", "", "")] if hidden else cells


def _counts(count: Count) -> str:
    return f"{count.done}/{count.total}"


def _minus(count: Count) -> str:
    return f"-{count.failed}" if count.failed else ""


def _more(hidden: int) -> str:
    return f"and {hidden} more"


def _stage(count: Count) -> int:
    """Return the sort key of a value: values in progress come first, then values not yet begun, then finished ones."""
    ended = count.done + count.failed
    return 2 if ended >= count.total else 1 if ended == 0 else 0


def _best(snapshot: Snapshot, n_lines: int) -> RenderableType:
    if not snapshot.best:
        return _line("best method: no panel has results of two methods yet", "dim")
    table = Table.grid(padding=(0, 2))
    table.add_row(_line("best method so far", "bold magenta"))
    fits = snapshot.n_panels <= n_lines - 1
    rows = snapshot.best[: n_lines - 1 if fits else n_lines - 2]
    for best in rows:
        name = "accuracy" if best.measure == "test_accuracy" else "error"
        value = Text(f"{100 * best.value:.2f} % {name}, n={best.n}", no_wrap=True)
        table.add_row(_line(f"  {best.panel}", max_width=_PANEL_WIDTH), _line(best.method, "green"), value)
    if len(rows) < snapshot.n_panels:
        table.add_row(_line(f"  {_more(snapshot.n_panels - len(rows))}", "dim"))
    return table


def _errors(errors: Sequence[LastError], *, most: int) -> list[RenderableType]:
    lines = [_line(f"  {error.method} {error.cell_id}: {error.line}") for error in errors[:most]]
    return [_line("last failures", "bold red"), *lines] if lines else []


def _bar(done: int, total: int, width: int) -> ProgressBar:
    return ProgressBar(total=max(total, 1), completed=done, width=width)


def _line(text: str, style: str = "", *, max_width: int | None = None) -> Text:
    line = _cut(Text(text, style=style))
    if max_width is not None:
        line.truncate(max_width, overflow="ellipsis")
    return line


def _cut(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _share(wanted: Sequence[int], lines: int, *, least: int) -> list[int]:
    """Return how many of the lines each part gets, at most the wanted number.

    Each part in turn gets `least` lines, as long as there are enough; the rest is shared as equally as possible.
    """
    given: list[int] = []
    for part in wanted:
        first = min(part, least)
        given.append(first if sum(given) + first <= lines else 0)
    while (free := lines - sum(given)) > 0:
        hungry = [i for i, part in enumerate(wanted) if 0 < given[i] < part]
        if not hungry:
            break
        # Give many lines at once while there are enough, else one by one.
        each = max(1, min(free // len(hungry), min(wanted[i] - given[i] for i in hungry)))
        for i in hungry[:free]:
            given[i] += each
    return given
